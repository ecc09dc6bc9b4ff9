import type { Approval, HeldCall } from '../../src/approvals/approval.ts';
import { Approvals, type Prepared } from '../../src/approvals/approvals.ts';
import type { NoticeRoad } from '../../src/approvals/notices.ts';
import type { Audit } from '../../src/audit/audit.ts';
import { ok } from '../../src/base/result.ts';
import { GuardedClient } from '../../src/net/guarded-client.ts';
import type { Store } from '../../src/store/database.ts';
import { openAudit, type TestDatabase } from './databases.ts';
import { type Identity, openIdentity, userCaller } from './identity.ts';

export const REQUESTER = userCaller('asker@example.com');
export const DECIDER = { caller: userCaller('admin'), way: 'cli', fresh: false } as const;
export const HOUR_MS = 3_600_000;

const NO_ROAD: NoticeRoad = {
  client: new GuardedClient(),
  allowOrigins: [],
  withSecrets: ok<string>,
  origin: () => 'https://castellan.example.com',
};

export type Scene = {
  approvals: Approvals;
  store: Store;
  /** Another one on the same database. */
  another(): Promise<Approvals>;
  /** Calls that were sent, by their arguments. */
  sent: string[];
  audit: Audit;
  identity: Identity;
  /** What stands in the way of every call. */
  obstacle: { now: Prepared | undefined };
  /** Ends the calls that are being made. */
  gate: { open: Promise<void> };
};

export const heldCall = (n: number, terms: Partial<HeldCall['terms']> = {}): HeldCall => ({
  requester: {
    principal: 'McpToken:0',
    owner: 'asker@example.com',
    ownerUid: 'usr_1',
    ceilings: ['User:asker@example.com'],
    project: 'demo',
    projectUid: 'prj_1',
    surfaces: ['consumer'],
  },
  project: { name: 'demo', uid: 'prj_1' },
  surface: 'consumer',
  server: 'x',
  tool: 'x__echo',
  arguments: { n },
  definition: { name: 'echo' },
  policy: { policy: 'humans-first', rule: 0, version: 'v1' },
  terms: {
    approvers: [],
    expiresMs: HOUR_MS,
    selfApproval: 'never',
    executeOn: 'approve',
    holdMs: 0,
    outcomeTtlMs: HOUR_MS,
    ...terms,
  },
});

export async function scene(
  make: () => Promise<TestDatabase>,
  play: (scene: Scene) => Promise<void>,
  road: NoticeRoad = NO_ROAD,
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const database = await make();
  stack.defer(() => database.dispose());
  const sent: string[] = [];
  const obstacle: Scene['obstacle'] = { now: undefined };
  const gate = { open: Promise.resolve() };
  const execute = async (approval: Approval): Promise<Prepared> =>
    obstacle.now ?? {
      send: async () => {
        sent.push(approval.argumentsText);
        await gate.open;
        return { state: 'succeeded', outcome: { ok: true, result: { content: [] } } };
      },
    };
  const opened = await database.open();
  const identity = await openIdentity(opened, database.logger);
  stack.defer(() => identity.close());
  const audit = await openAudit(opened);
  stack.defer(() => audit.close());
  const { store, dataDir } = opened;
  const another = async () => {
    const { authorizer } = identity;
    const { sealer } = dataDir;
    const { logger } = database;
    const one = await Approvals.open({ store, audit, sealer, authorizer, logger, road, execute });
    stack.defer(() => one.close());
    return one;
  };
  await play({ approvals: await another(), store, audit, identity, another, sent, obstacle, gate });
}

export const change = (store: Store, id: string, set: object) =>
  store.db.updateTable('approvals').set(set).where('id', '=', id).execute();
