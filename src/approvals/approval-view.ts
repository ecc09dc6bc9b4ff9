import type { JsonObject } from '../protocol/jsonrpc.ts';
import { APPROVAL_STATES, type Approval, type ApprovalState } from './approval.ts';

/** An approval as the API, the tools and the command line show it. Times are ISO 8601. */
export type ApprovalView = {
  id: string;
  state: ApprovalState;
  project: string;
  surface: string;
  server: string;
  tool: string;
  /** Exactly what is sent. */
  arguments: JsonObject;
  /** Who asked. */
  user: string;
  principal: string;
  token?: string | undefined;
  policy: string;
  /** Counted from 0. */
  rule: number;
  approvers: string[];
  selfApproval: string;
  executeOn: string;
  fingerprint: string;
  requestedAt: string;
  expiresAt: string;
  decidedAt?: string | undefined;
  decidedBy?: string | undefined;
  decidedWay?: string | undefined;
  reason?: string | undefined;
  executedAt?: string | undefined;
  settledAt?: string | undefined;
};

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
