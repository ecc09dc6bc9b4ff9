/**
 * A notice is one message about an approval, to the address that its rule names:
 *
 *   waiting → delivered | overtaken | failed
 *
 * It is written with the step that it tells of, in one transaction, so none is lost and none is made up. Whoever takes it
 * puts it off by more than an attempt takes, in one statement: one process tries at a time, and when that one dies
 * another tries again. So it arrives at least once, and every attempt bears the same id. What asks for a decision is
 * overtaken once there is none to make. After too many attempts, or too long, it has failed, and the audit says so.
 */
import type { ApprovalState } from './approval.ts';

/** `reminder`: nobody has decided yet; the others are the state that the approval has come to. */
export const NOTICE_EVENTS = [
  'pending',
  'reminder',
  'approved',
  'rejected',
  'expired',
  'cancelled',
  'void',
  'unknown',
] as const satisfies readonly (ApprovalState | 'reminder')[];
export type NoticeEvent = (typeof NOTICE_EVENTS)[number];

export const NOTICE_STATES = ['waiting', 'delivered', 'overtaken', 'failed'] as const;
export type NoticeState = (typeof NOTICE_STATES)[number];

/** Times are milliseconds since 1970. */
export type Notice = {
  id: string;
  approvalId: string;
  event: NoticeEvent;
  state: NoticeState;
  madeAt: number;
  dueAt: number;
  /** This one included. */
  attempts: number;
  /** What was wrong with the last attempt; nothing of it is confidential. */
  problem: string | null;
  endedAt: number | null;
};

/** The notice that a state calls for. */
export function noticeOf(state: string): NoticeEvent | undefined {
  return NOTICE_EVENTS.find((event) => event === state);
}

/** Whether it asks for a decision that nobody can make any more. */
export function isOvertaken({ event }: Pick<Notice, 'event'>, state: ApprovalState): boolean {
  return (event === 'pending' || event === 'reminder') && state !== 'pending';
}
