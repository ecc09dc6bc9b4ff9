import { z } from 'zod';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import { APPROVAL_STATES, type Approval, type ApprovalState } from './approval.ts';

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
});
export type ApprovalView = z.infer<typeof APPROVAL_VIEW>;

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
  };
}

export function isApprovalState(text: string): text is ApprovalState {
  return APPROVAL_STATES.some((one) => one === text);
}

const iso = (at: number | null) => (at === null ? undefined : new Date(at).toISOString());
