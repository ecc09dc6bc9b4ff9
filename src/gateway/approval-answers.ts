import type { Approval } from '../approvals/approval.ts';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import { isObject } from '../protocol/jsonrpc.ts';
import { asToolResult, type CallRefusal } from './refusals.ts';
import type { GatewayOutcome } from './tool-call.ts';
import type { ViewTool } from './view.ts';

/** Where a result says which approval it is the outcome of. */
const APPROVAL_META = 'castellan/approval';
const ASK_ANEW_MS = 60_000;

/** What the caller of a call that is not over yet is told. */
export function approvalRefusal(approval: Approval, url: string | undefined): CallRefusal {
  const { id, expiresAt, state, terms } = approval;
  if (state === 'executing' || (state === 'approved' && terms.executeOn === 'approve')) {
    return {
      code: 'APPROVAL_IN_PROGRESS',
      retry: 'after_ms',
      sentence: `This call was approved and is being made now (${id}). Call again with the same arguments for its outcome; it is not made twice.`,
      more: { approvalId: id, retryAfterMs: 1_000 },
    };
  }
  if (state === 'approved') {
    return {
      code: 'APPROVAL_IN_PROGRESS',
      retry: 'after_ms',
      sentence: `This call is approved (${id}), and it cannot be made right now. Call again with the same arguments in a moment: that makes it.`,
      more: { approvalId: id, retryAfterMs: 5_000 },
    };
  }
  const expires = new Date(expiresAt).toISOString();
  const where = url === undefined ? `with castellan approvals approve ${id}` : `at ${url}`;
  return {
    code: 'APPROVAL_REQUIRED',
    retry: 'after_approval',
    sentence: `This call was not made: it waits for the approval of a human, until ${expires}, ${where}. Call again with the same arguments after approval.`,
    more: { approvalId: id, ...(url === undefined ? {} : { url }), expiresAt: expires },
  };
}

export function tooManyWaiting(): CallRefusal {
  return {
    code: 'RATE_LIMITED',
    retry: 'after_ms',
    sentence:
      'The call was not made: too many calls of this caller wait for approval. Have some of them decided or cancelled first.',
    more: { retryAfterMs: ASK_ANEW_MS, limit: 'approvals' },
  };
}

/** The outcome of a call that is over. `replayed`: an earlier call asked for it. */
export function outcomeOf(approval: Approval, replayed: boolean, tool: ViewTool): GatewayOutcome {
  const { id, executedAt, outcome, state } = approval;
  const hasSchema = tool.definition.outputSchema !== undefined;
  if (!outcome || state === 'unknown')
    return { ok: true, result: asToolResult(overRefusal(approval), hasSchema) };
  const mark: JsonObject = {
    approvalId: id,
    ...(executedAt === null ? {} : { executedAt: new Date(executedAt).toISOString() }),
    replayed,
  };
  if (!outcome.ok) {
    const { data } = outcome.error;
    const known = isObject(data) ? data : data === undefined ? {} : { data };
    return { ok: false, error: { ...outcome.error, data: { ...known, [APPROVAL_META]: mark } } };
  }
  const { result } = outcome;
  const meta = isObject(result._meta) ? result._meta : {};
  return { ok: true, result: { ...result, _meta: { ...meta, [APPROVAL_META]: mark } } };
}

function overRefusal({ id, state, reason, executedAt }: Approval): CallRefusal {
  const why = reason === null ? '' : `: ${reason}`;
  const more: JsonObject = { approvalId: id, ...(reason === null ? {} : { reason }) };
  const anew = { retry: 'after_ms', more: { ...more, retryAfterMs: ASK_ANEW_MS } } as const;
  switch (state) {
    case 'rejected':
      return {
        code: 'APPROVAL_REJECTED',
        retry: 'never',
        sentence: `The call was rejected and not made${why}. Do without it, or do something else.`,
        more,
      };
    case 'expired':
      return {
        code: 'APPROVAL_EXPIRED',
        sentence:
          'Nobody approved the call in time, and it was not made. Call again in a minute to ask anew.',
        ...anew,
      };
    case 'cancelled':
      return {
        code: 'APPROVAL_CANCELLED',
        sentence: `The request for approval was taken back${why}. The call was not made. Call again in a minute to ask anew.`,
        ...anew,
      };
    case 'void':
      return {
        code: 'APPROVAL_VOID',
        sentence: `The call was not made, for it is not the call any more that was asked for${why}. Call again in a minute to ask anew.`,
        ...anew,
      };
    default:
      return {
        code: 'OUTCOME_UNKNOWN',
        retry: 'never',
        sentence: `The call was approved and sent (${id}), and nobody knows what became of it. It may have had its effect: find out before you ask for it again. It is not repeated by itself.`,
        more: {
          ...more,
          ...(executedAt === null ? {} : { executedAt: new Date(executedAt).toISOString() }),
        },
      };
  }
}
