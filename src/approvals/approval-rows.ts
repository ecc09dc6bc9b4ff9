import type { Kysely, RawBuilder, Selectable, Transaction, UpdateObject } from 'kysely';
import type { Audit } from '../audit/audit.ts';
import type { AuditActor, AuditDetail, AuditEventName } from '../audit/event.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { newId } from '../base/ids.ts';
import type { Sealer } from '../base/seal.ts';
import type { KeptCaller } from '../identity/absent-callers.ts';
import { definitionFingerprint } from '../pins/definition.ts';
import type { HoldTerms } from '../policy/policy.ts';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import type { Surface } from '../resources/spec.ts';
import type { Store } from '../store/database.ts';
import { isUniqueViolation } from '../store/fault.ts';
import type { ApprovalsTable, Schema } from '../store/schema.ts';
import {
  ACTIVE,
  type Approval,
  type ApprovalState,
  type DecisionWay,
  type HeldCall,
  type HoldingRule,
  type StoredOutcome,
} from './approval.ts';
import type { ApprovalClock } from './approval-clock.ts';
import { identityOf } from './call-identity.ts';
import { noticeOf } from './notice.ts';
import { addNotice } from './notice-rows.ts';

export type ApprovalRow = Selectable<ApprovalsTable>;

/** What the audit says of a step, beside what it says of every one. */
export type StepTold = { event: AuditEventName; actor?: AuditActor; detail?: AuditDetail };

/** One step: the states it may leave, what it writes, and what else has to be true when it does. */
export type Step = {
  from: readonly ApprovalState[];
  /** @param moment the time of the step */
  set(moment: RawBuilder<number>): UpdateObject<Schema, 'approvals'>;
  /** Its time must not have come, or must. */
  expired?: boolean;
  /** It must be this execution's. */
  execution?: string;
  /** Whoever executes it must have said nothing for long. */
  lapsed?: true;
  told?: StepTold;
};

/** For how long an outcome that was delivered is delivered again: the first answer may have been lost. */
const AGAIN_MS = 60_000;
const MAX_REMINDERS = 24;
/** Calls that one principal, and one user with everything they have, may keep waiting. */
const MAX_WAITING = { principal: 100, owner: 500 } as const;
const ARGUMENTS = 'approval-arguments';
const OUTCOME = 'approval-outcome';

/** The approvals as they lie in the database. Each change of a state is one statement, with its row of the audit. */
export class ApprovalRows {
  readonly #store: Pick<Store, 'db'>;
  readonly #audit: Pick<Audit, 'append' | 'argumentsDigest'>;
  readonly #sealer: Sealer;
  readonly #clock: ApprovalClock;

  constructor(deps: {
    store: Pick<Store, 'db'>;
    audit: Pick<Audit, 'append' | 'argumentsDigest'>;
    sealer: Sealer;
    clock: ApprovalClock;
  }) {
    this.#store = deps.store;
    this.#audit = deps.audit;
    this.#sealer = deps.sealer;
    this.#clock = deps.clock;
  }

  get db(): Kysely<Schema> {
    return this.#store.db;
  }

  /** Puts a call on hold. `active`: another one of its identity is by now · `full`: too many of its caller wait. */
  async insert(call: HeldCall, now: number, actor: AuditActor): Promise<Approval | 'active' | 'full'> {
    const id = newId('apr');
    const text = canonicalJson(call.arguments);
    const { expiresMs, notify } = call.terms;
    const row = {
      id,
      identity: identityOf(call),
      state: 'pending',
      project: call.project.name,
      project_uid: call.project.uid,
      surface: call.surface,
      server: call.server,
      tool: call.tool,
      principal: call.requester.principal,
      owner: call.requester.owner,
      requester: JSON.stringify(call.requester),
      arguments: this.#sealer.seal(ARGUMENTS, text, id),
      definition: JSON.stringify(call.definition),
      fingerprint: definitionFingerprint(call.definition),
      policy: JSON.stringify(call.policy),
      terms: JSON.stringify(call.terms),
      requested_at: now,
      expires_at: now + expiresMs,
      changed_at: now,
      remind_at: notify?.remindMs === undefined ? null : now + notify.remindMs,
    };
    try {
      const full = await this.db.transaction().execute(async (transaction) => {
        if (await isFull(transaction, row)) return true;
        await transaction.insertInto('approvals').values(row).execute();
        const { policy, rule } = call.policy;
        await this.#audit.append(transaction, {
          event: 'approval.requested',
          outcome: 'told',
          actor,
          ...aboutCall(row),
          digest: this.#audit.argumentsDigest(call.arguments),
          detail: { policy, rule, expiresAt: new Date(row.expires_at).toISOString() },
        });
        if (notify) await addNotice(transaction, id, 'pending', now);
        return false;
      });
      if (full) return 'full';
    } catch (error) {
      if (isUniqueViolation(error)) return 'active';
      throw error;
    }
    return (await this.find(id)) ?? 'active';
  }

  /** Takes one step; false: the approval is not in a state, or no longer, that the step leaves. */
  async step(approval: Pick<Approval, 'id'>, step: Step): Promise<boolean> {
    return this.db.transaction().execute(async (transaction) => {
      const moment = this.#clock.moment();
      let statement = transaction
        .updateTable('approvals')
        .set({ ...step.set(moment), changed_at: moment })
        .where('id', '=', approval.id)
        .where('state', 'in', step.from);
      if (step.expired !== undefined)
        statement = statement.where('expires_at', step.expired ? '<=' : '>', moment);
      if (step.execution !== undefined) statement = statement.where('execution', '=', step.execution);
      if (step.lapsed) statement = statement.where('lease_until', '<=', moment);
      const row = await statement.returningAll().executeTakeFirst();
      if (!row) return false;
      if (step.told)
        await this.#audit.append(transaction, { outcome: 'told', ...aboutCall(row), ...step.told });
      const notice = noticeOf(row.state);
      if (notice && termsOf(row).notify) await addNotice(transaction, row.id, notice, row.changed_at);
      return true;
    });
  }

  /** Reminds of one that is due for it, once, however many processes look; a time that was missed is not made up. */
  async remind({ id, remind_at: due, reminders, ...row }: ApprovalRow, now: number): Promise<void> {
    const every = termsOf(row).notify?.remindMs;
    if (due === null || due > now || every === undefined) return;
    const next = due + every * (Math.floor((now - due) / every) + 1);
    const last = Number(reminders) + 1 >= MAX_REMINDERS || next >= row.expires_at;
    await this.db.transaction().execute(async (transaction) => {
      const { numUpdatedRows } = await transaction
        .updateTable('approvals')
        .set({ remind_at: last ? null : next, reminders: Number(reminders) + 1 })
        .where('id', '=', id)
        .where('state', '=', 'pending')
        .where('remind_at', '=', due)
        .where('expires_at', '>', now)
        .executeTakeFirst();
      if (Number(numUpdatedRows) === 1) await addNotice(transaction, id, 'reminder', now);
    });
  }

  async find(id: string): Promise<Approval | undefined> {
    const row = await this.db.selectFrom('approvals').selectAll().where('id', '=', id).executeTakeFirst();
    return row && this.read(row);
  }

  /** The active one of an identity. One that is being executed comes before any other. */
  async active(identity: string): Promise<Approval | undefined> {
    const rows = await this.db
      .selectFrom('approvals')
      .selectAll()
      .where('identity', '=', identity)
      .where('state', 'in', ACTIVE)
      .execute();
    const row = rows.find(({ state }) => state === 'executing') ?? rows[0];
    return row && this.read(row);
  }

  /** The latest one that is over and whose outcome its caller has yet to get, or got a moment ago. */
  async undelivered(identity: string, now: number): Promise<Approval | undefined> {
    const row = await this.db
      .selectFrom('approvals')
      .selectAll()
      .where('identity', '=', identity)
      .where('state', 'not in', ACTIVE)
      .orderBy('requested_at', 'desc')
      .limit(1)
      .executeTakeFirst();
    if (!row) return undefined;
    const approval = this.read(row);
    const over = approval.settledAt ?? approval.changedAt;
    const due =
      approval.deliveredAt === null
        ? over + approval.terms.outcomeTtlMs > now
        : approval.deliveredAt + AGAIN_MS > now;
    return due ? approval : undefined;
  }

  /** Its caller gets the outcome now. */
  async delivered({ id }: Approval, now: number): Promise<void> {
    await this.db
      .updateTable('approvals')
      .set({ delivered_at: now })
      .where('id', '=', id)
      .where('delivered_at', 'is', null)
      .execute();
  }

  sealOutcome(id: string, outcome: StoredOutcome): string {
    return this.#sealer.seal(OUTCOME, JSON.stringify(outcome), id);
  }

  read(row: ApprovalRow): Approval {
    return {
      id: row.id,
      state: row.state as ApprovalState,
      requester: JSON.parse(row.requester) as KeptCaller,
      project: { name: row.project, uid: row.project_uid },
      surface: row.surface as Surface,
      server: row.server,
      tool: row.tool,
      argumentsText: this.#open(ARGUMENTS, row.arguments, row.id),
      definition: JSON.parse(row.definition) as JsonObject,
      fingerprint: row.fingerprint,
      policy: JSON.parse(row.policy) as HoldingRule,
      terms: termsOf(row),
      requestedAt: row.requested_at,
      expiresAt: row.expires_at,
      changedAt: row.changed_at,
      decidedAt: row.decided_at,
      decidedBy: row.decided_by,
      decidedWay: row.decided_way as DecisionWay | null,
      reason: row.reason,
      executedAt: row.executed_at,
      settledAt: row.settled_at,
      outcome: row.outcome === null ? undefined : JSON.parse(this.#open(OUTCOME, row.outcome, row.id)),
      deliveredAt: row.delivered_at,
      reminders: Number(row.reminders),
    };
  }

  #open(purpose: string, sealed: string, id: string): string {
    const opened = this.#sealer.open(purpose, sealed, id);
    if (!opened.ok) throw new Error(`approval ${id} cannot be opened: ${opened.error}`);
    return opened.value;
  }
}

/** Whether as many calls of a principal, or of a user with everything they have, wait as may. */
async function isFull(
  transaction: Transaction<Schema>,
  { owner, principal }: Pick<ApprovalRow, 'owner' | 'principal'>,
): Promise<boolean> {
  const counted = await transaction
    .selectFrom('approvals')
    .select(({ fn }) => ['principal', fn.countAll<number>().as('count')])
    .where('state', '=', 'pending')
    .where('owner', '=', owner)
    .groupBy('principal')
    .execute();
  const own = counted.find((one) => one.principal === principal);
  const all = counted.reduce((sum, { count }) => sum + Number(count), 0);
  return Number(own?.count ?? 0) >= MAX_WAITING.principal || all >= MAX_WAITING.owner;
}

const termsOf = ({ terms }: Pick<ApprovalRow, 'terms'>) => JSON.parse(terms) as HoldTerms;

function aboutCall(row: Pick<ApprovalRow, 'id' | 'project' | 'surface' | 'server' | 'tool'>) {
  const { id, project, surface, server, tool } = row;
  return { target: `Approval/${id}`, project, surface, server, tool };
}
