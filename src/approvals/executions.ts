import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import { messageOf } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Approval, StoredOutcome } from './approval.ts';
import type { ApprovalClock } from './approval-clock.ts';
import type { ApprovalRows } from './approval-rows.ts';

/** `unknown`: it was sent, and no answer says what became of it. */
export type Executed = { state: 'succeeded' | 'failed' | 'unknown'; outcome: StoredOutcome };
export type Send = () => Promise<Executed>;

/** Whoever executes and says nothing for so long is taken for dead, ms. */
const LEASE_MS = 30_000;
const CLOSE_MS = 1_000;
const RECORD_ATTEMPTS = 20;
const RECORD_AGAIN_MS = 500;
/** A larger outcome is not kept, characters. */
const MAX_OUTCOME = 4 * 1024 * 1024;

type Deps = { rows: ApprovalRows; clock: ApprovalClock; logger: Logger; changed(id: string): void };

/** The executions of this process: each claims its approval, sends the call, and records how it ended. */
export class Executions {
  readonly #deps: Deps;
  readonly #running = new Map<string, Promise<boolean>>();

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  /** Names of the executions under way here. */
  get running(): readonly string[] {
    return [...this.#running.keys()];
  }

  /** False: somebody else has claimed it, or it must not be sent any more. Resolves when the outcome is recorded. */
  async run(approval: Approval, send: Send): Promise<boolean> {
    const execution = randomUUID();
    const work = this.#run(approval, execution, send);
    this.#running.set(execution, work);
    try {
      return await work;
    } finally {
      this.#running.delete(execution);
    }
  }

  /** Says of every execution under way here that somebody still looks after it. */
  async renew(): Promise<void> {
    if (this.#running.size === 0) return;
    const { rows, clock } = this.#deps;
    await rows.db
      .updateTable('approvals')
      .set({ lease_until: (await clock.now()) + LEASE_MS })
      .where('execution', 'in', this.running)
      .where('state', '=', 'executing')
      .execute();
  }

  /** What is still under way then is left to whoever finds that nobody executes it. */
  async close(): Promise<void> {
    const ended = Promise.allSettled(this.#running.values());
    await Promise.race([ended, delay(CLOSE_MS, undefined, { ref: false })]);
  }

  async #run(approval: Approval, execution: string, send: Send): Promise<boolean> {
    const { rows, changed } = this.#deps;
    const claimed = await rows.step(approval, {
      from: ['approved'],
      set: (moment) => ({
        state: 'executing',
        execution,
        executed_at: moment,
        lease_until: sql<number>`${moment} + ${LEASE_MS}`,
      }),
      expired: false,
    });
    if (!claimed) return false;
    changed(approval.id);
    await this.#record(approval, execution, bounded(await sent(send)));
    changed(approval.id);
    return true;
  }

  /** The call was made: what became of it is worth several tries. */
  async #record(approval: Approval, execution: string, { state, outcome }: Executed): Promise<void> {
    const { rows, logger } = this.#deps;
    for (let attempt = 1; ; attempt += 1) {
      try {
        const sealed = rows.sealOutcome(approval.id, outcome);
        const recorded = await rows.step(approval, {
          from: ['executing', 'unknown'],
          set: (moment) => ({ state, outcome: sealed, settled_at: moment }),
          execution,
          told: { event: 'approval.settled', detail: { state } },
        });
        if (!recorded) logger.warn({ approval: approval.id }, 'an outcome came too late to be recorded');
        return;
      } catch (error) {
        logger.error(
          { approval: approval.id, error: messageOf(error) },
          'the outcome of an approved call is not recorded yet',
        );
        if (attempt >= RECORD_ATTEMPTS) return;
        await delay(RECORD_AGAIN_MS, undefined, { ref: false });
      }
    }
  }
}

/** What goes wrong here after the claim may have happened after the call as well. */
async function sent(send: Send): Promise<Executed> {
  try {
    return await send();
  } catch (error) {
    const message = `The call was approved and then failed here: ${messageOf(error)}`;
    return { state: 'unknown', outcome: { ok: false, error: { code: -32603, message } } };
  }
}

function bounded(executed: Executed): Executed {
  if (JSON.stringify(executed.outcome).length <= MAX_OUTCOME) return executed;
  const text = 'The call was made after its approval. Its answer is too large to be kept.';
  const isError = executed.state !== 'succeeded';
  return { ...executed, outcome: { ok: true, result: { content: [{ type: 'text', text }], isError } } };
}
