import type { Kysely, Selectable, Transaction } from 'kysely';
import type { Audit } from '../audit/audit.ts';
import { newId } from '../base/ids.ts';
import type { Store } from '../store/database.ts';
import type { ApprovalNoticesTable, Schema } from '../store/schema.ts';
import type { Approval } from './approval.ts';
import type { Notice, NoticeEvent, NoticeState } from './notice.ts';

/** Longer than an attempt takes, ms. */
const TAKEN_MS = 20_000;
/** More than these wait only when nothing gets through for long: the rest has failed from the start. */
const MAX_WAITING = 10_000;
const MAX_SHOWN = 50;

/** Writes down that an approval is to be told of, with the step that it tells of. */
export async function addNotice(
  transaction: Transaction<Schema>,
  approvalId: string,
  event: NoticeEvent,
  now: number,
): Promise<void> {
  const waiting = await transaction
    .selectFrom('approval_notices')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('state', '=', 'waiting')
    .executeTakeFirstOrThrow();
  const full = Number(waiting.count) >= MAX_WAITING;
  await transaction
    .insertInto('approval_notices')
    .values({
      id: newId('msg'),
      approval_id: approvalId,
      event,
      state: full ? 'failed' : 'waiting',
      made_at: now,
      due_at: now,
      attempts: 0,
      problem: full ? `more than ${MAX_WAITING} notices wait already` : null,
      ended_at: full ? now : null,
    })
    .execute();
}

/** Notices as they lie in the database. */
export class NoticeRows {
  readonly #store: Pick<Store, 'db'>;
  readonly #audit: Pick<Audit, 'append'>;

  constructor(store: Pick<Store, 'db'>, audit: Pick<Audit, 'append'>) {
    this.#store = store;
    this.#audit = audit;
  }

  /** Takes those that are due, so that nobody else does; the attempt counts from now on. */
  async take(now: number, atMost: number): Promise<Notice[]> {
    const taken = await this.#db
      .updateTable('approval_notices')
      .set((notice) => ({ due_at: now + TAKEN_MS, attempts: notice('attempts', '+', 1) }))
      .where('id', 'in', (db) =>
        db
          .selectFrom('approval_notices')
          .select('id')
          .where('state', '=', 'waiting')
          .where('due_at', '<=', now)
          .orderBy('due_at')
          .limit(atMost),
      )
      // Another process may have been faster with the same ones.
      .where('state', '=', 'waiting')
      .where('due_at', '<=', now)
      .returningAll()
      .execute();
    return taken.map(read);
  }

  /** Puts off the next attempt; only whoever makes this one may. */
  async again(notice: Notice, problem: string, dueAt: number): Promise<void> {
    await this.#ofAttempt(notice, { problem, due_at: dueAt });
  }

  async end(notice: Notice, state: 'delivered' | 'overtaken', now: number): Promise<void> {
    await this.#ofAttempt(notice, { state, problem: null, ended_at: now });
  }

  /** @param approval where it can be read */
  async fail(notice: Notice, approval: Approval | undefined, reason: string, now: number): Promise<void> {
    await this.#db.transaction().execute(async (transaction) => {
      const ended = { state: 'failed' as const, problem: reason, ended_at: now };
      if (!(await this.#ofAttempt(notice, ended, transaction))) return;
      const about = approval && {
        project: approval.project.name,
        ...{ surface: approval.surface, server: approval.server, tool: approval.tool },
      };
      await this.#audit.append(transaction, {
        event: 'approval.untold',
        outcome: 'error',
        actor: { kind: 'castellan' },
        target: `Approval/${notice.approvalId}`,
        ...about,
        detail: { notice: notice.id, of: notice.event, attempts: notice.attempts, reason },
      });
    });
  }

  /** The latest of an approval, in their order. */
  async of(approvalId: string): Promise<Notice[]> {
    const rows = await this.#db
      .selectFrom('approval_notices')
      .selectAll()
      .where('approval_id', '=', approvalId)
      .orderBy('made_at', 'desc')
      .limit(MAX_SHOWN)
      .execute();
    return rows.map(read).reverse();
  }

  async anyWaiting(): Promise<boolean> {
    const one = this.#db.selectFrom('approval_notices').select('id').where('state', '=', 'waiting').limit(1);
    return (await one.executeTakeFirst()) !== undefined;
  }

  /** Forgets those of approvals that are forgotten. */
  async prune(): Promise<void> {
    await this.#db
      .deleteFrom('approval_notices')
      .where('approval_id', 'not in', (db) => db.selectFrom('approvals').select('id'))
      .execute();
  }

  get #db(): Kysely<Schema> {
    return this.#store.db;
  }

  async #ofAttempt(
    { id, attempts }: Notice,
    set: { state?: NoticeState; problem: string | null; due_at?: number; ended_at?: number },
    db: Kysely<Schema> = this.#db,
  ): Promise<boolean> {
    const { numUpdatedRows } = await db
      .updateTable('approval_notices')
      .set(set)
      .where('id', '=', id)
      .where('attempts', '=', attempts)
      .where('state', '=', 'waiting')
      .executeTakeFirst();
    return Number(numUpdatedRows) === 1;
  }
}

function read(row: Selectable<ApprovalNoticesTable>): Notice {
  return {
    id: row.id,
    approvalId: row.approval_id,
    event: row.event as NoticeEvent,
    state: row.state as NoticeState,
    madeAt: row.made_at,
    dueAt: row.due_at,
    attempts: Number(row.attempts),
    problem: row.problem,
    endedAt: row.ended_at,
  };
}
