import type { Freeze } from '../freezes/freezes.ts';
import type { Taken } from '../limits/call-limiter.ts';
import { ErrorCode, type JsonObject, type JsonRpcError } from '../protocol/jsonrpc.ts';
import type { NeutralOutcome } from '../protocol/model.ts';
import { UpstreamFault } from '../upstream/transport.ts';

/** Codes of a refused or failed call; docs/errors.md explains each to whoever reads one. */
export type RefusalCode =
  | 'UPSTREAM_UNAVAILABLE'
  | 'UPSTREAM_NEEDS_LOGIN'
  | 'UPSTREAM_FORBIDDEN'
  | 'UPSTREAM_TIMEOUT'
  | 'RESULT_TOO_LARGE'
  | 'CANCELLED'
  | 'AUDIT_UNAVAILABLE'
  | 'POLICY_DENIED'
  | 'APPROVAL_REQUIRED'
  | 'APPROVAL_IN_PROGRESS'
  | 'APPROVAL_REJECTED'
  | 'APPROVAL_EXPIRED'
  | 'APPROVAL_CANCELLED'
  | 'APPROVAL_VOID'
  | 'OUTCOME_UNKNOWN'
  | 'RATE_LIMITED'
  | 'FROZEN'
  | ToolRefusalCode;

/** Why a built-in tool did not do what it was asked. */
export type ToolRefusalCode = 'INVALID_ARGUMENT' | 'NOT_FOUND' | 'NOT_PERMITTED' | 'CONFLICT' | 'ON_HOLD';

export type CallRefusal = {
  code: RefusalCode;
  /** What would make a second try useful. */
  retry: 'never' | 'after_login' | 'after_approval' | 'after_ms';
  /** What was refused, what to do instead, whether a retry can help. */
  sentence: string;
  /** Further members of `castellan/error`. */
  more: JsonObject;
};

/** The key under which a refusal's machine-readable half travels. */
export const ERROR_META = 'castellan/error';
const DEFAULT_RETRY_MS = 1_000;

/** A tool that does not exist, is on the other surface, or is hidden: always the same answer. */
export function unknownTool(name: string): JsonRpcError {
  return {
    code: ErrorCode.invalidParams,
    message: `Unknown tool: ${name.slice(0, 128)}`,
    data: { code: 'UNKNOWN_TOOL' },
  };
}

/**
 * What a fault of an upstream means to the caller.
 * @param origin where the caller's user finds our pages; undefined: people cannot sign in here
 */
export function refusalOf(fault: UpstreamFault, server: string, origin?: string): CallRefusal {
  switch (fault.kind) {
    case 'timeout':
      return fault.sent
        ? {
            code: 'UPSTREAM_TIMEOUT',
            retry: 'never',
            sentence: `${server} did not answer in time. The call may still have had its effect: check before you repeat it.`,
            more: { server },
          }
        : unavailable(server, 'connecting', fault);
    case 'needs_auth':
    case 'needs_scope':
      return needsLogin(fault, server, origin);
    case 'forbidden':
      return {
        code: 'UPSTREAM_FORBIDDEN',
        retry: 'never',
        sentence: `${fault.message}. The call was not made.`,
        more: { server },
      };
    case 'too_large':
      return {
        code: 'RESULT_TOO_LARGE',
        retry: 'never',
        sentence: `The answer of ${server} was over the size limit (${fault.message}). Ask for less at a time.`,
        more: { server },
      };
    case 'abandoned':
      return { code: 'CANCELLED', retry: 'never', sentence: 'The call was cancelled.', more: { server } };
    case 'capacity':
      return unavailable(server, 'capacity', fault);
    default:
      return unavailable(server, fault.kind === 'unreachable' ? 'failed' : fault.kind, fault);
  }
}

function needsLogin(fault: UpstreamFault, server: string, origin: string | undefined): CallRefusal {
  const url = origin === undefined || fault.page === undefined ? undefined : origin + fault.page;
  const fix = url === undefined ? fault.message : `${fault.message}, or have your user open ${url}`;
  return {
    code: 'UPSTREAM_NEEDS_LOGIN',
    retry: 'after_login',
    sentence:
      fault.status === undefined
        ? `${fix}. The call was not made; a retry helps once that is done.`
        : `${server} refused our credential. Its owner has to renew it before a retry can help.`,
    more: { server, ...(url !== undefined && { url }) },
  };
}

function unavailable(server: string, state: string, fault: UpstreamFault): CallRefusal {
  const retryAfterMs = fault.retryAfterMs ?? DEFAULT_RETRY_MS;
  const effect = fault.sent ? ' The call may have had its effect.' : ' The call was not made.';
  return {
    code: 'UPSTREAM_UNAVAILABLE',
    retry: 'after_ms',
    sentence: `${server} is not available: ${fault.message}.${effect} Other servers are not affected; retry later.`,
    more: { server, state, retryAfterMs },
  };
}

/** What may change something must be written down first. */
export function auditUnavailable(retryAfterMs: number): CallRefusal {
  return {
    code: 'AUDIT_UNAVAILABLE',
    retry: 'after_ms',
    sentence:
      'The audit cannot be written right now, and calls that may change something wait for it. The call was not made; retry later. Tools that only read go on.',
    more: { retryAfterMs },
  };
}

/** @param reason what the rule says to whoever is refused */
export function policyDenied(reason: string | undefined): CallRefusal {
  const why = reason ?? 'the policies of this project do not allow it';
  return {
    code: 'POLICY_DENIED',
    retry: 'never',
    sentence: `This call was denied by policy and not made: ${why}. The same call will be denied again; do without it, or ask whoever runs this project.`,
    more: { reason: why },
  };
}

export function rateLimited({ subject, what, retryAfterMs }: Extract<Taken, { ok: false }>): CallRefusal {
  const whose = subject === 'project' ? 'this project' : `this ${subject} in this project`;
  const limit = what === 'rate' ? 'too many calls in a short time' : 'too many calls at the same time';
  return {
    code: 'RATE_LIMITED',
    retry: 'after_ms',
    sentence: `The call was not made: ${whose} has had ${limit}. Wait ${retryAfterMs} ms and try again.`,
    more: { retryAfterMs, limit: subject },
  };
}

export function frozen({ scope, reason, by, at }: Freeze): CallRefusal {
  const what = scope === '*' ? 'all projects' : `project ${scope}`;
  const since = new Date(at).toISOString();
  const why = reason === '' ? '' : ` (${reason})`;
  return {
    code: 'FROZEN',
    retry: 'never',
    sentence: `The call was not made: ${by} has stopped the calls of ${what} since ${since}${why}. Wait until somebody lets them go on; retrying does not help.`,
    more: { since, by, ...(reason === '' ? {} : { reason }) },
  };
}

/** @param field the argument that has to be another one */
export function toolRefused(code: ToolRefusalCode, sentence: string, field?: string): CallRefusal {
  const retry = code === 'ON_HOLD' ? 'after_approval' : 'never';
  return { code, retry, sentence, more: field === undefined ? {} : { field } };
}

/** A refusal as a tool result. A listed output schema forbids a foreign object in `structuredContent`. */
export function asToolResult(refusal: CallRefusal, hasOutputSchema: boolean): JsonObject {
  const error = { code: refusal.code, retry: refusal.retry, ...refusal.more };
  const result: JsonObject = {
    content: [{ type: 'text', text: refusal.sentence }],
    isError: true,
    _meta: { [ERROR_META]: error },
  };
  if (!hasOutputSchema) result.structuredContent = error;
  return result;
}

/** A refusal as the JSON-RPC error of a method that has no error result. */
export function asJsonRpcError(refusal: CallRefusal): JsonRpcError {
  return {
    code: ErrorCode.internal,
    message: refusal.sentence,
    data: { code: refusal.code, retry: refusal.retry, ...refusal.more },
  };
}

export function failed(error: JsonRpcError): NeutralOutcome {
  return { ok: false, error };
}

export function invalidParams(message: string, data?: unknown): NeutralOutcome {
  const error: JsonRpcError = { code: ErrorCode.invalidParams, message };
  return failed(data === undefined ? error : { ...error, data });
}

export function asFault(error: unknown): UpstreamFault {
  if (error instanceof UpstreamFault) return error;
  throw error;
}
