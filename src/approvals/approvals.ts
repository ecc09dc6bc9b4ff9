import { setTimeout as delay } from 'node:timers/promises';
import { type RawBuilder, sql } from 'kysely';
import type { Audit } from '../audit/audit.ts';
import { messageOf, Refusal } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Sealer } from '../base/seal.ts';
import { auditActor } from '../identity/audit-actor.ts';
import type { Authorizer } from '../identity/authorizer.ts';
import { type AuthenticatedCaller, callerKey } from '../identity/caller.ts';
import { mayAny } from '../identity/decide.ts';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import type { Store } from '../store/database.ts';
import { type Approval, type HeldCall, isActive, UNSENT } from './approval.ts';
import { ApprovalClock } from './approval-clock.ts';
import { type ApprovalRow, ApprovalRows } from './approval-rows.ts';
import { ApprovalSweep } from './approval-sweep.ts';
import { identityOf } from './call-identity.ts';
import { type Decider, type DecisionRefusal, refusalToDecide } from './deciders.ts';
import { Executions, type Send } from './executions.ts';
import type { Notice } from './notice.ts';
import { NoticeRows } from './notice-rows.ts';
import { type NoticeRoad, Notices } from './notices.ts';

/**
 * What stands in the way of an approved call now. `void`: it is not the call any more that was asked for · `later`:
 * nothing is wrong with it, and it cannot be made at the moment.
 */
export type Prepared = { send: Send } | Obstacle;
/** `definition`: the tool as it is now, where it is not as it was. */
export type Obstacle = { void: string; definition?: JsonObject } | { later: string };
export type Examined = Obstacle | { ready: true };

export type ApprovalsDeps = {
  store: Pick<Store, 'db' | 'dialect'>;
  audit: Audit;
  sealer: Sealer;
  authorizer: Authorizer;
  logger: Logger;
  /** How notices get to whom a rule names. */
  road: NoticeRoad;
  /** Looks at everything anew and makes the call ready, on behalf of a caller who is not there. */
  execute(approval: Approval): Promise<Prepared>;
};

/** How far a list looks for approvals that its reader may see, in pages of as many as are wanted. */
const LISTED_PAGES = 50;
/** How long a decision waits for the call that it lets go, ms. */
const DECISION_MS = 90_000;
/** How long somebody who looks at an approval waits for a server that has to be dialled, ms. */
const EXAMINE_MS = 3_000;
/** How soon a process learns of what another one did, ms. */
const LOOK_EVERY_MS = 500;

export class TooManyWaiting extends Error {}

/** Calls on hold: asked for, decided, executed once, and told of. The head of `approval.ts` tells their life. */
export class Approvals {
  readonly #deps: ApprovalsDeps;
  readonly #rows: ApprovalRows;
  readonly #noticeRows: NoticeRows;
  readonly #clock: ApprovalClock;
  readonly #executions: Executions;
  readonly #sweep: ApprovalSweep;
  readonly #waiters = new Map<string, Set<() => void>>();

  private constructor(deps: ApprovalsDeps, clock: ApprovalClock) {
    this.#deps = deps;
    this.#clock = clock;
    this.#rows = new ApprovalRows({ ...deps, clock });
    const changed = (id: string) => this.#changed(id);
    const { logger, store, audit, road } = deps;
    const rows = this.#rows;
    this.#noticeRows = new NoticeRows(store, audit);
    const noticeRows = this.#noticeRows;
    this.#executions = new Executions({ rows, clock, logger, changed });
    this.#sweep = new ApprovalSweep({
      rows,
      noticeRows,
      notices: new Notices({ rows, notices: noticeRows, clock, road, logger }),
      clock,
      executions: this.#executions,
      alone: store.dialect === 'sqlite',
      logger,
      execute: deps.execute,
      changed,
    });
  }

  static async open(deps: ApprovalsDeps): Promise<Approvals> {
    return new Approvals(deps, await ApprovalClock.open(deps.store));
  }

  /** What became of the same call before, if its caller has yet to learn of it; else the one that now waits. */
  async request(
    call: HeldCall,
    caller: AuthenticatedCaller,
  ): Promise<{ approval: Approval; isNew: boolean }> {
    const identity = identityOf(call);
    for (;;) {
      const now = await this.#clock.now();
      const known = (await this.#rows.active(identity)) ?? (await this.#rows.undelivered(identity, now));
      // One whose time has come is over, whoever is to say so.
      if (known && UNSENT.some((one) => one === known.state) && known.expiresAt <= now) {
        await this.#sweep.expire(known);
        continue;
      }
      if (known) return { approval: known, isNew: false };
      const made = await this.#rows.insert(call, now, auditActor(caller));
      if (made === 'active') continue;
      if (made === 'full') throw new TooManyWaiting('too many calls of this caller wait for approval');
      this.#sweep.wake();
      return { approval: made, isNew: true };
    }
  }

  /** The approval as it is when it is over or armed for its caller, else at the end of the wait. */
  async settled(approval: Approval, waitMs: number, left: () => boolean): Promise<Approval> {
    const until = performance.now() + waitMs;
    let now = approval;
    while (isWaiting(now) && !left()) {
      const rest = until - performance.now();
      if (rest <= 0) break;
      await this.#nextChange(now.id, Math.min(rest, LOOK_EVERY_MS));
      now = (await this.#rows.find(now.id)) ?? now;
    }
    return now;
  }

  /** Makes the call of an armed approval for its caller, who has come again; false: it is not to be made any more. */
  executeArmed(approval: Approval, send: Send): Promise<boolean> {
    return this.#executions.run(approval, send);
  }

  async delivered(approval: Approval): Promise<void> {
    await this.#rows.delivered(approval, await this.#clock.now());
  }

  /** @throws Refusal `not_found` where there is none that the caller may see */
  async get(id: string, caller: AuthenticatedCaller): Promise<Approval> {
    const approval = /^apr_\w{1,64}$/.test(id) ? await this.#rows.find(id) : undefined;
    if (!approval || !this.sees(caller, approval))
      throw new Refusal('not_found', `there is no approval ${id} that you may see`);
    return approval;
  }

  /** The newest first, those that the caller may see. */
  async list(
    caller: AuthenticatedCaller,
    filter: { project?: string | undefined; state?: string | undefined; limit: number },
  ): Promise<Approval[]> {
    const others = this.#looksAtOthers(caller);
    const found: Approval[] = [];
    let last: ApprovalRow | undefined;
    // What a caller may see is known of each one alone: those of others may come before theirs.
    for (let page = 0; page < LISTED_PAGES && found.length < filter.limit; page += 1) {
      let query = this.#rows.db.selectFrom('approvals').selectAll();
      if (filter.project !== undefined) query = query.where('project', '=', filter.project);
      if (filter.state !== undefined) query = query.where('state', '=', filter.state);
      if (caller.projectUid !== undefined) query = query.where('project_uid', '=', caller.projectUid);
      if (!others) query = query.where('owner', '=', caller.owner);
      if (last) {
        const { requested_at, id } = last;
        query = query.where(({ and, eb, or }) =>
          or([
            eb('requested_at', '<', requested_at),
            and([eb('requested_at', '=', requested_at), eb('id', '<', id)]),
          ]),
        );
      }
      const rows = await query
        .orderBy('requested_at', 'desc')
        .orderBy('id', 'desc')
        .limit(filter.limit)
        .execute();
      found.push(...rows.map((row) => this.#rows.read(row)).filter((one) => this.sees(caller, one)));
      last = rows.at(-1);
      if (rows.length < filter.limit) break;
    }
    return found.slice(0, filter.limit);
  }

  /** Whoever may look at it or decide on it, the caller who asked, and their owner in person. */
  sees(caller: AuthenticatedCaller, { id, project, requester }: Approval): boolean {
    if (caller.projectUid !== undefined && caller.projectUid !== project.uid) return false;
    const own =
      callerKey(caller) === callerKey(requester) ||
      (caller.principal === `User:${requester.owner}` && caller.actor === undefined);
    const may = (role: 'view' | 'approve') =>
      this.#deps.authorizer.decide(caller, { role, resource: 'approvals', name: id, project: project.name })
        .allowed;
    return own || may('view') || may('approve');
  }

  /** What stands in the way of the call now, as far as that is known within a moment. Changes nothing. */
  async examine(approval: Approval): Promise<Examined> {
    const patience = delay<Obstacle>(EXAMINE_MS, { later: 'its server has yet to answer' }, { ref: false });
    const prepared = await Promise.race([this.#deps.execute(approval), patience]);
    return 'send' in prepared ? { ready: true } : prepared;
  }

  /** Why this caller may not decide on it now; undefined when they may. */
  refusalTo(decider: Decider, approval: Approval): DecisionRefusal | undefined {
    const { caller } = decider;
    const { authorizer } = this.#deps;
    const { id, project } = approval;
    const ask = { role: 'approve', resource: 'approvals', name: id, project: project.name } as const;
    const decision = authorizer.decide(caller, ask);
    const foreign = caller.projectUid !== undefined && caller.projectUid !== project.uid;
    const groups = authorizer.rights().access.users.get(caller.owner)?.groups ?? [];
    const missing = decision.allowed ? '' : decision.missing;
    return refusalToDecide(approval, decider, { approves: decision.allowed && !foreign, missing, groups });
  }

  /**
   * Lets the call go, and waits for what becomes of it.
   * @throws Refusal `forbidden` when it is not theirs to decide, `conflict` when it is decided already or void
   */
  async approve(id: string, decider: Decider): Promise<Approval> {
    const approval = await this.#open(id, decider);
    const prepared = await this.#deps.execute(approval);
    if ('later' in prepared) throw new Refusal('conflict', `not now: ${prepared.later}; it still waits`);
    if ('void' in prepared) {
      await this.#sweep.void(approval, prepared.void);
      throw new Refusal(
        'conflict',
        `${prepared.void}: the approval is void; the call has to be asked for anew`,
      );
    }
    // Looking at everything took its time, in which the right may have gone.
    this.#demand(decider, approval);
    const armed = approval.terms.executeOn === 'retry';
    await this.#decide(approval, decider, 'approved', undefined, armed);
    if (armed) return this.current(approval);
    const ended = this.#executions.run(approval, prepared.send);
    ended.catch((error) =>
      this.#deps.logger.error({ approval: id, error: messageOf(error) }, 'an approved call was not made yet'),
    );
    await Promise.race([ended.catch(() => false), delay(DECISION_MS, undefined, { ref: false })]);
    return this.current(approval);
  }

  /** @throws Refusal as `approve` does */
  async reject(id: string, decider: Decider, reason: string | undefined): Promise<Approval> {
    const approval = await this.#open(id, decider);
    await this.#decide(approval, decider, 'rejected', reason);
    return this.current(approval);
  }

  /** Takes the call back: whoever asked for it may, and whoever may decide. */
  async cancel(id: string, decider: Decider, reason: string | undefined): Promise<Approval> {
    const { caller } = decider;
    const approval = await this.get(id, caller);
    const { requester } = approval;
    const own = callerKey(caller) === callerKey(requester) || caller.principal === `User:${requester.owner}`;
    if (!own || caller.actor !== undefined) this.#demand(decider, approval);
    await this.#decide(approval, decider, 'cancelled', reason);
    return this.current(approval);
  }

  /** Says what became of a call of which nobody knows. */
  async resolve(id: string, decider: Decider, state: 'succeeded' | 'failed'): Promise<Approval> {
    const { caller, way } = decider;
    const approval = await this.get(id, caller);
    const ask = { role: 'approve', resource: 'approvals', name: id, project: approval.project.name } as const;
    const decision = this.#deps.authorizer.decide(caller, ask);
    if (caller.actor !== undefined || !decision.allowed)
      throw new Refusal('forbidden', 'this needs role:approve,resource:approvals, in person or by a token');
    const text = `Nobody saw how this call ended. ${caller.owner} has found out that it ${state}.`;
    const result = { content: [{ type: 'text', text }], isError: state === 'failed' };
    const outcome = this.#rows.sealOutcome(id, { ok: true, result });
    const set = (moment: RawBuilder<number>) => ({ state, outcome, settled_at: moment });
    const told = { event: 'approval.resolved', actor: auditActor(caller), detail: { state, way } } as const;
    if (!(await this.#rows.step(approval, { from: ['unknown'], set, told })))
      throw new Refusal(
        'conflict',
        `only an approval whose outcome is unknown is resolved: ${standing(approval)}`,
      );
    this.#changed(id);
    return this.current(approval);
  }

  /** What was told of it outside, the latest last. */
  notices({ id }: Approval): Promise<Notice[]> {
    return this.#noticeRows.of(id);
  }

  /** How many approved calls are being made by this process. */
  get executing(): number {
    return this.#executions.running.length;
  }

  async close(): Promise<void> {
    await this.#sweep.close();
    await this.#executions.close();
  }

  /** The approval that somebody is about to decide on. */
  async #open(id: string, decider: Decider): Promise<Approval> {
    const approval = await this.get(id, decider.caller);
    this.#demand(decider, approval);
    if (approval.state !== 'pending') throw decided(approval);
    return approval;
  }

  #demand(decider: Decider, approval: Approval): void {
    const refusal = this.refusalTo(decider, approval);
    if (refusal) throw new Refusal('forbidden', refusal.sentence);
  }

  async #decide(
    approval: Approval,
    { caller, way }: Decider,
    state: 'approved' | 'rejected' | 'cancelled',
    reason: string | undefined,
    armed = false,
  ): Promise<void> {
    const { expiresMs } = approval.terms;
    if (reason?.includes('\0')) throw new Refusal('invalid', 'reason: contains a NUL character: remove it');
    const moved = await this.#rows.step(approval, {
      from: state === 'cancelled' ? UNSENT : ['pending'],
      set: (moment) => ({
        state,
        decided_at: moment,
        decided_by: caller.principal,
        decided_way: way,
        reason: reason ?? null,
        // A call that is armed waits as long for its caller as it has waited for the decision at most.
        ...(armed && { expires_at: sql<number>`${moment} + ${expiresMs}` }),
      }),
      expired: false,
      told: { event: `approval.${state}`, actor: auditActor(caller), detail: { way, reason } },
    });
    if (!moved) throw decided(await this.current(approval));
    this.#changed(approval.id);
  }

  /** It is not the call any more that was asked for. */
  voided(approval: Approval, reason: string): Promise<void> {
    return this.#sweep.void(approval, reason);
  }

  /** As it is now. */
  async current({ id }: Approval): Promise<Approval> {
    const found = await this.#rows.find(id);
    if (!found) throw new Refusal('not_found', `approval ${id} is gone`);
    return found;
  }

  #looksAtOthers(caller: AuthenticatedCaller): boolean {
    const layers = this.#deps.authorizer.rights().layersOf(caller);
    const project = caller.project === '*' ? {} : { project: caller.project };
    return (['view', 'approve'] as const).some((role) =>
      mayAny(layers, { role, resource: 'approvals', ...project }),
    );
  }

  async #nextChange(id: string, atMostMs: number): Promise<void> {
    const waiters = this.#waiters.get(id) ?? new Set();
    this.#waiters.set(id, waiters);
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        waiters.delete(done);
        if (waiters.size === 0 && this.#waiters.get(id) === waiters) this.#waiters.delete(id);
        resolve();
      };
      const timer = setTimeout(done, atMostMs);
      waiters.add(done);
    });
  }

  #changed(id: string): void {
    this.#sweep.wake();
    for (const waiter of [...(this.#waiters.get(id) ?? [])]) waiter();
  }
}

/** Neither over nor armed for a caller who is there. */
function isWaiting(approval: Approval): boolean {
  return isActive(approval) && !(approval.state === 'approved' && approval.terms.executeOn === 'retry');
}

function decided(approval: Approval): Refusal {
  return new Refusal('conflict', `there is nothing left to decide: ${standing(approval)}`);
}

function standing({ state, decidedBy }: Approval): string {
  return `it is ${state}${decidedBy === null ? '' : `, decided by ${decidedBy}`}`;
}
