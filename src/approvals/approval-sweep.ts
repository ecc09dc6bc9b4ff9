import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Approval } from './approval.ts';
import { ACTIVE, UNSENT } from './approval.ts';
import type { ApprovalClock } from './approval-clock.ts';
import type { ApprovalRow, ApprovalRows, Step } from './approval-rows.ts';
import type { Prepared } from './approvals.ts';
import type { Executions } from './executions.ts';
import type { NoticeRows } from './notice-rows.ts';
import type { Notices } from './notices.ts';

type SweepDeps = {
  rows: ApprovalRows;
  noticeRows: NoticeRows;
  notices: Notices;
  clock: ApprovalClock;
  executions: Executions;
  /** No other process executes anything: whatever this one does not execute is executed by nobody. */
  alone: boolean;
  logger: Logger;
  execute(approval: Approval): Promise<Prepared>;
  changed(id: string): void;
};

const EVERY_MS = 1_000;
const BATCH = 200;
/** What a notice under way gets to end, ms; it is tried again after a start. */
const CLOSE_MS = 1_000;
/** How long an approval that is over is kept, ms. The audit keeps what it tells of it for longer. */
const KEPT_MS = 30 * 86_400_000;
const PRUNE_EVERY_MS = 3_600_000;

/**
 * Looks, again and again, at every active approval and does what its state calls for: it expires, somebody is reminded
 * of it, it is executed after all, or nobody is left who executes it. Then at the notices that are due. Whatever was
 * missed is found by the next look; to look twice changes nothing.
 */
export class ApprovalSweep {
  readonly #deps: SweepDeps;
  readonly #timer: NodeJS.Timeout;
  /** Approved calls that are being made ready here. */
  readonly #executing = new Set<string>();
  #looking: Promise<void> | undefined;
  /** Whether there may be something to look after. */
  #active = true;
  #prunedAt = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(deps: SweepDeps) {
    this.#deps = deps;
    this.#timer = setInterval(() => this.#tick(), EVERY_MS).unref();
  }

  /** There is something to look after. */
  wake(): void {
    this.#active = true;
  }

  async expire(approval: Approval): Promise<void> {
    const { rows, changed } = this.#deps;
    const told = { event: 'approval.expired', actor: { kind: 'castellan' } } as const;
    const step = { from: UNSENT, set: () => ({ state: 'expired' }), expired: true, told };
    if (await rows.step(approval, step)) changed(approval.id);
  }

  /** @param reason what is not as it was */
  async void(approval: Approval, reason: string): Promise<void> {
    const { rows, changed } = this.#deps;
    const told = {
      event: 'approval.voided',
      actor: { kind: 'castellan' },
      detail: { reason },
    } as const;
    if (await rows.step(approval, { from: UNSENT, set: () => ({ state: 'void', reason }), told }))
      changed(approval.id);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    await this.#looking;
    await this.#deps.clock.keep({ always: true });
    await Promise.race([this.#deps.notices.idle(), delay(CLOSE_MS, undefined, { ref: false })]);
  }

  #tick(): void {
    // On PostgreSQL others make approvals, too.
    if (this.#looking || this.#closed || (this.#deps.alone && !this.#active)) return;
    // Whatever comes to be meanwhile wakes it again.
    this.#active = false;
    this.#looking = this.#look()
      .then((active) => {
        this.#active ||= active;
      })
      .catch((error) => {
        this.#active = true;
        const message = 'approvals were not looked after; again in a moment';
        this.#deps.logger.warn({ error: messageOf(error) }, message);
      })
      .finally(() => {
        this.#looking = undefined;
      });
  }

  /** Whether there is something left. */
  async #look(): Promise<boolean> {
    const { noticeRows, notices, clock, executions, alone, logger } = this.#deps;
    await executions.renew();
    await clock.keep();
    const now = await clock.now();
    for (let batch = await this.#due(now, ''); batch.length > 0; ) {
      for (const row of batch) {
        try {
          await this.#lookAt(row, now);
        } catch (error) {
          // One that cannot be looked after is in nobody's way.
          logger.error({ approval: row.id, error: messageOf(error) }, 'an approval was not looked after');
        }
      }
      batch = batch.length < BATCH ? [] : await this.#due(now, batch.at(-1)?.id ?? '');
    }
    await notices.deliverDue(now);
    if (performance.now() - this.#prunedAt > PRUNE_EVERY_MS) await this.#prune(now);
    // On PostgreSQL it looks in any case.
    return !alone || (await this.#anyActive()) || noticeRows.anyWaiting();
  }

  /** Those whose state calls for something, in the order of their ids. */
  #due(now: number, after: string): Promise<ApprovalRow[]> {
    return this.#deps.rows.db
      .selectFrom('approvals')
      .selectAll()
      .where(({ and, or, eb }) =>
        or([
          eb('state', 'in', ['approved', 'executing']),
          and([eb('state', '=', 'pending'), or([eb('expires_at', '<=', now), eb('remind_at', '<=', now)])]),
        ]),
      )
      .where('id', '>', after)
      .orderBy('id')
      .limit(BATCH)
      .execute();
  }

  async #anyActive(): Promise<boolean> {
    const one = this.#deps.rows.db.selectFrom('approvals').select('id').where('state', 'in', ACTIVE).limit(1);
    return (await one.executeTakeFirst()) !== undefined;
  }

  async #lookAt(row: ApprovalRow, now: number): Promise<void> {
    const approval = this.#deps.rows.read(row);
    if (row.state === 'executing') await this.#lost(approval, row.execution, row.lease_until ?? 0, now);
    else if (approval.expiresAt <= now) await this.expire(approval);
    else if (row.state === 'pending') await this.#deps.rows.remind(row, now);
    else if (row.state === 'approved' && approval.terms.executeOn === 'approve') this.#execute(approval);
  }

  /** Whoever executed it is gone: nobody knows what became of the call. */
  async #lost(approval: Approval, execution: string | null, leaseUntil: number, now: number): Promise<void> {
    const { rows, executions, alone, changed } = this.#deps;
    if (execution !== null && executions.running.includes(execution)) return;
    if (!alone && leaseUntil > now) return;
    const told = {
      event: 'approval.settled',
      actor: { kind: 'castellan' },
      detail: { state: 'unknown' },
    } as const;
    const step: Step = {
      from: ['executing'],
      set: (moment) => ({ state: 'unknown', settled_at: moment }),
      ...(execution !== null && { execution }),
      ...(!alone && { lapsed: true }),
      told,
    };
    if (await rows.step(approval, step)) changed(approval.id);
  }

  /** It was approved, and whoever did it came no further. */
  #execute(approval: Approval): void {
    if (this.#executing.has(approval.id)) return;
    this.#executing.add(approval.id);
    const { execute, executions, logger } = this.#deps;
    execute(approval)
      .then(async (prepared) => {
        if ('void' in prepared) await this.void(approval, prepared.void);
        else if ('send' in prepared) await executions.run(approval, prepared.send);
      })
      .catch((error) =>
        logger.warn({ approval: approval.id, error: messageOf(error) }, 'an approved call was not made yet'),
      )
      .finally(() => this.#executing.delete(approval.id));
  }

  async #prune(now: number): Promise<void> {
    this.#prunedAt = performance.now();
    await this.#deps.rows.db
      .deleteFrom('approvals')
      .where('state', 'not in', ACTIVE)
      .where('state', '!=', 'unknown')
      .where('changed_at', '<', now - KEPT_MS)
      .execute();
    await this.#deps.noticeRows.prune();
  }
}
