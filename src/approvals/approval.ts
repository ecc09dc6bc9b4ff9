/**
 * An approval is one tool call that a policy holds until somebody decides, and this is its life:
 *
 *   pending → approved → executing → succeeded | failed | unknown        unknown → succeeded | failed
 *   pending → rejected          pending, approved → expired | cancelled | void
 *
 * A call that is held is pending. Somebody with the right approves it: at once, or with `executeOn: retry` when its
 * caller comes again, one process claims it (executing), sends the call and records how it ended. Every step is one
 * conditional statement that names the state it leaves, so of several that race one wins, in whatever process.
 *
 * A call is sent only by whoever has just moved it from approved to executing, and nothing leads back: it is sent at
 * most once. Whoever executes renews a lease. When the lease has run out nobody knows what became of the call: it is
 * unknown until its own executor still reports, or somebody resolves it. Nothing is ever sent to find out.
 *
 * Pending and approved ones expire; they are void once the requester, the tool's definition or the policy is not what
 * it was. Pending, approved and executing ones are active: of one identity there is one active approval at most. In all
 * other states it is over, and its outcome waits for its caller to ask again.
 */
import type { KeptCaller } from '../identity/absent-callers.ts';
import type { HoldTerms } from '../policy/policy.ts';
import type { JsonObject, JsonRpcError } from '../protocol/jsonrpc.ts';
import type { Surface } from '../resources/spec.ts';

export const APPROVAL_STATES = [
  'pending',
  'approved',
  'executing',
  'succeeded',
  'failed',
  'unknown',
  'rejected',
  'expired',
  'cancelled',
  'void',
] as const;
export type ApprovalState = (typeof APPROVAL_STATES)[number];

export const ACTIVE = ['pending', 'approved', 'executing'] as const satisfies readonly ApprovalState[];
/** Nothing has been sent, and nothing need be. */
export const UNSENT = ['pending', 'approved'] as const satisfies readonly ApprovalState[];

export function isActive({ state }: Pick<Approval, 'state'>): boolean {
  return ACTIVE.some((one) => one === state);
}

/** The rule that held the call. */
export type HoldingRule = {
  policy: string;
  /** Counted from 0. */
  rule: number;
  /** Names the policy as it was. */
  version: string;
};

/** A call as it is held: everything that the decision is about. */
export type HeldCall = {
  requester: KeptCaller;
  project: { name: string; uid: string };
  surface: Surface;
  server: string;
  /** Canonical name. */
  tool: string;
  arguments: JsonObject;
  /** The tool as its server describes it. */
  definition: JsonObject;
  policy: HoldingRule;
  terms: HoldTerms;
};

/** What the call came to, in the modern shape. */
export type StoredOutcome = { ok: true; result: JsonObject } | { ok: false; error: JsonRpcError };

/** Where a decision was made: on a page, with the local administrator's credential, by a token at the API or a tool. */
export type DecisionWay = 'page' | 'cli' | 'api' | 'mcp';

/** Times are milliseconds since 1970. */
export type Approval = Omit<HeldCall, 'arguments'> & {
  id: string;
  state: ApprovalState;
  /** Canonical JSON (RFC 8785): what is sent, to the character. */
  argumentsText: string;
  /** SHA-256 of the definition, hex. */
  fingerprint: string;
  requestedAt: number;
  expiresAt: number;
  changedAt: number;
  decidedAt: number | null;
  /** A principal. */
  decidedBy: string | null;
  decidedWay: DecisionWay | null;
  reason: string | null;
  /** When the call was about to be sent. */
  executedAt: number | null;
  settledAt: number | null;
  outcome: StoredOutcome | undefined;
  deliveredAt: number | null;
  /** How often whoever is told of it was reminded. */
  reminders: number;
};
