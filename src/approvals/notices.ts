import { messageOf } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { ok, type Result, refused } from '../base/result.ts';
import type { GuardedClient, GuardedFault } from '../net/guarded-client.ts';
import type { Approval } from './approval.ts';
import type { ApprovalClock } from './approval-clock.ts';
import type { ApprovalRows } from './approval-rows.ts';
import { isOvertaken, type Notice } from './notice.ts';
import { noticeMessage } from './notice-message.ts';
import type { NoticeRows } from './notice-rows.ts';

/** The world outside, for notices. */
export type NoticeRoad = {
  client: Pick<GuardedClient, 'fetch'>;
  /** Origins that may lie elsewhere than at a public address. */
  allowOrigins: readonly string[];
  /** A text with its secrets filled in; the error names none of them. */
  withSecrets(text: string): Result<string, string>;
  /** Where people reach the pages; undefined until that is known. */
  origin(): string | undefined;
};

type Deps = {
  rows: ApprovalRows;
  notices: NoticeRows;
  clock: ApprovalClock;
  road: NoticeRoad;
  logger: Logger;
};

const AT_ONCE = 8;
const TIMEOUT_MS = 10_000;
const MAX_ATTEMPTS = 12;
const MAX_AGE_MS = 24 * 3_600_000;
const FIRST_WAIT_MS = 5_000;
const LONGEST_WAIT_MS = 900_000;

const FAULTS: Readonly<Record<GuardedFault, string>> = {
  url: 'the address is no https address, and its origin is not in CASTELLAN_NOTIFY_ORIGINS',
  unreachable: 'nobody answers at a public address; an origin in CASTELLAN_NOTIFY_ORIGINS may lie anywhere',
  timeout: 'no answer in time',
  too_large: 'the answer is too large',
  encoded: 'the answer is compressed, which nobody asked for',
  busy: 'too many notices are under way',
};

/** Delivers notices; the head of `notice.ts` tells their life. */
export class Notices {
  readonly #deps: Deps;
  readonly #underWay = new Set<Promise<void>>();

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  /** Begins with those that are due now, and waits for none. */
  async deliverDue(now: number): Promise<void> {
    const { notices, road, logger } = this.#deps;
    const free = AT_ONCE - this.#underWay.size;
    const origin = road.origin();
    if (free === 0 || origin === undefined) return;
    for (const notice of await notices.take(now, free)) {
      const work = this.#deliver(notice, origin)
        .catch((error) =>
          logger.warn({ notice: notice.id, error: messageOf(error) }, 'a notice is left for later'),
        )
        .finally(() => this.#underWay.delete(work));
      this.#underWay.add(work);
    }
  }

  /** Resolves when nothing is under way any more. */
  async idle(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  async #deliver(notice: Notice, origin: string): Promise<void> {
    const { rows, notices, clock, logger } = this.#deps;
    if (notice.attempts > MAX_ATTEMPTS)
      return notices.fail(notice, undefined, 'no attempt came to an end', await clock.now());
    const approval = await rows.find(notice.approvalId);
    if (!approval?.terms.notify || isOvertaken(notice, approval.state))
      return notices.end(notice, 'overtaken', await clock.now());
    const sent = await this.#send(notice, approval, `${origin}/approvals/${approval.id}`);
    const now = await clock.now();
    if (sent.ok) return notices.end(notice, 'delivered', now);
    const { reason, final } = sent.error;
    const about = { approval: approval.id, notice: notice.id, of: notice.event, attempts: notice.attempts };
    logger.warn({ ...about, reason }, 'a notice of an approval was not delivered');
    const dueAt = now + waitAfter(notice.attempts);
    if (final || notice.attempts >= MAX_ATTEMPTS || dueAt - notice.madeAt > MAX_AGE_MS)
      await notices.fail(notice, approval, reason, now);
    else await notices.again(notice, reason, dueAt);
  }

  async #send(
    notice: Notice,
    approval: Approval,
    page: string,
  ): Promise<Result<undefined, { reason: string; final: boolean }>> {
    const { road, clock } = this.#deps;
    const target = filled(approval, road);
    if (!target.ok) return refused({ reason: target.error, final: false });
    const attemptAt = Math.floor((await clock.now()) / 1_000);
    const message = noticeMessage(target.value, { notice, approval, page, attemptAt });
    if (!message.ok) return refused({ reason: message.error, final: false });
    const { url, headers, body } = message.value;
    const answer = await road.client.fetch(url, {
      ...{ method: 'POST', headers, body, allowOrigins: road.allowOrigins },
      ...{ timeoutMs: TIMEOUT_MS, maxBytes: 0 },
    });
    if (!answer.ok) return refused({ reason: FAULTS[answer.error], final: false });
    const { status } = answer.value;
    if (status >= 200 && status < 300) return ok(undefined);
    // Gone: whoever is there asks to be told no more.
    return refused({ reason: `the answer was ${status}`, final: status === 410 });
  }
}

function filled({ terms }: Approval, road: NoticeRoad) {
  const { notify } = terms;
  if (!notify) return refused('the rule names nobody');
  const url = road.withSecrets(notify.url);
  if (!url.ok) return url;
  if (notify.secret === undefined) return ok({ ...notify, url: url.value.trim() });
  const secret = road.withSecrets(notify.secret);
  return secret.ok ? ok({ ...notify, url: url.value.trim(), secret: secret.value }) : secret;
}

/** Twice as long after every attempt, and up to half of that less, so that not everything comes at one moment. */
function waitAfter(attempts: number): number {
  const longest = Math.min(FIRST_WAIT_MS * 2 ** (attempts - 1), LONGEST_WAIT_MS);
  return Math.round(longest * (0.5 + Math.random() / 2));
}
