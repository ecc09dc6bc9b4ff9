import { z } from 'zod';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import { APPROVAL_STATES, type Approval, type ApprovalState } from './approval.ts';
import { NOTICE_EVENTS, NOTICE_STATES, type Notice } from './notice.ts';

const text = z.string();
const time = z.iso.datetime();

/** An approval as the API, the tools and the command line show it. */
export const APPROVAL_VIEW = z.strictObject({
  id: text,
  state: z.enum(APPROVAL_STATES),
  project: text,
  surface: z.enum(['consumer', 'operator']),
  server: text,
  tool: text.describe('Canonical name.'),
  arguments: z.looseObject({}).describe('Exactly what is sent.'),
  user: text.describe('Whose credential asked.'),
  principal: text,
  token: text.optional(),
  policy: text,
  rule: z.int().describe('Counted from 0.'),
  approvers: z.array(text),
  selfApproval: z.enum(['page', 'cli', 'never']),
  executeOn: z.enum(['approve', 'retry']),
  fingerprint: text.describe('Of the definition of the tool.'),
  requestedAt: time,
  expiresAt: time,
  decidedAt: time.optional(),
  decidedBy: text.optional().describe('A principal.'),
  decidedWay: z.enum(['page', 'cli', 'api', 'mcp']).optional(),
  reason: text.optional(),
  executedAt: time.optional(),
  settledAt: time.optional(),
  reminders: z.int().optional().describe('How often somebody was reminded.'),
});
export type ApprovalView = z.infer<typeof APPROVAL_VIEW>;

/** The same with what was told of it outside. */
export const TOLD_APPROVAL_VIEW = APPROVAL_VIEW.extend({
  notices: z
    .array(
      z.strictObject({
        id: text.describe('The webhook-id.'),
        event: z.enum(NOTICE_EVENTS),
        state: z.enum(NOTICE_STATES),
        madeAt: time,
        attempts: z.int(),
        nextAt: time.optional().describe('When it is tried again, while it waits.'),
        endedAt: time.optional(),
        problem: text.optional().describe('Of the last attempt.'),
      }),
    )
    .optional()
    .describe('Where the rule says whom to notify.'),
});
export type ToldApprovalView = z.infer<typeof TOLD_APPROVAL_VIEW>;

export function approvalView(approval: Approval): ApprovalView {
  const { requester, policy, terms } = approval;
  return {
    id: approval.id,
    state: approval.state,
    project: approval.project.name,
    surface: approval.surface,
    server: approval.server,
    tool: approval.tool,
    arguments: JSON.parse(approval.argumentsText) as JsonObject,
    user: requester.owner,
    principal: requester.principal,
    token: requester.tokenName,
    policy: policy.policy,
    rule: policy.rule,
    approvers: [...terms.approvers],
    selfApproval: terms.selfApproval,
    executeOn: terms.executeOn,
    fingerprint: approval.fingerprint,
    requestedAt: iso(approval.requestedAt)!,
    expiresAt: iso(approval.expiresAt)!,
    decidedAt: iso(approval.decidedAt),
    decidedBy: approval.decidedBy ?? undefined,
    decidedWay: approval.decidedWay ?? undefined,
    reason: approval.reason ?? undefined,
    executedAt: iso(approval.executedAt),
    settledAt: iso(approval.settledAt),
    reminders: approval.reminders || undefined,
  };
}

export function toldApprovalView(approval: Approval, notices: readonly Notice[]): ToldApprovalView {
  return {
    ...approvalView(approval),
    notices: approval.terms.notify && notices.map(noticeView),
  };
}

function noticeView({ id, event, state, madeAt, dueAt, attempts, problem, endedAt }: Notice) {
  return {
    ...{ id, event, state, attempts },
    madeAt: iso(madeAt)!,
    nextAt: state === 'waiting' ? iso(dueAt) : undefined,
    endedAt: iso(endedAt),
    problem: problem ?? undefined,
  };
}

export function isApprovalState(text: string): text is ApprovalState {
  return APPROVAL_STATES.some((one) => one === text);
}

const iso = (at: number | null) => (at === null ? undefined : new Date(at).toISOString());
