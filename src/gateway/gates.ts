import type { HoldingRule } from '../approvals/approval.ts';
import type { Freezes } from '../freezes/freezes.ts';
import { callerKey } from '../identity/caller.ts';
import type { CallLimiter, LimitedBy } from '../limits/call-limiter.ts';
import { CallerFacts, type Facts, ToolFacts } from '../policy/expression.ts';
import type { HoldTerms } from '../policy/policy.ts';
import type { ProjectPolicies, Ruling } from '../policy/policy-book.ts';
import type { Verdict } from '../policy/verdict.ts';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import type { Policies, ProjectEntry } from '../resources/spec.ts';
import { type CallRefusal, frozen, policyDenied, rateLimited } from './refusals.ts';
import type { GatewayRequest } from './scope.ts';

/** A rule wants somebody to decide on the call. */
export type Held = { held: HoldingRule; terms: HoldTerms };

/** A call that has its place under the limits gives it back when it is over. */
export type Place = { refusal: CallRefusal } | { release: () => void };

const ONLY_TOOL_CALLS = 'it would need an approval, and only calls of tools can wait for one';

type GatesDeps = {
  freezes: Pick<Freezes, 'of'>;
  limiter: CallLimiter;
  /** Of the current snapshot. */
  policies: () => Policies;
};

/** What may stop a call that its caller has the right to make: a freeze, a limit, a policy. */
export class Gates {
  readonly #deps: GatesDeps;

  constructor(deps: GatesDeps) {
    this.#deps = deps;
  }

  frozen({ scope }: GatewayRequest): CallRefusal | undefined {
    const freeze = this.#deps.freezes.of(scope.project.name);
    return freeze && frozen(freeze);
  }

  /** @param tool canonical name, of a call; undefined where the project limits nothing */
  enter({ caller, scope }: GatewayRequest, tool?: string): Place | undefined {
    const { limits } = scope.project.spec;
    if (!limits) return undefined;
    const { uid } = scope.project;
    const by: LimitedBy[] = [];
    // A refresh gives a client another access token, and no new allowance.
    const token = caller.tokenId ?? (caller.credentialId && callerKey(caller));
    if (limits.token && token !== undefined)
      by.push({ subject: 'token', key: `${uid}|token|${token}`, limit: limits.token });
    if (limits.user) by.push({ subject: 'user', key: `${uid}|user|${caller.owner}`, limit: limits.user });
    if (limits.tool && tool !== undefined)
      by.push({ subject: 'tool', key: `${uid}|tool|${tool}`, limit: limits.tool });
    if (limits.surface)
      by.push({ subject: 'surface', key: `${uid}|surface|${scope.surface}`, limit: limits.surface });
    if (limits.project) by.push({ subject: 'project', key: `${uid}|project`, limit: limits.project });
    const taken = this.#deps.limiter.take(by);
    return taken.ok ? taken : { refusal: rateLimited(taken) };
  }

  /** Whether the project denies by default and nothing opens the tool. */
  hides(project: ProjectEntry, tool: string): boolean {
    return this.#policiesOf(project).tool(tool).hidden;
  }

  /** The same of the prompts and resources of a server. */
  hidesServer(project: ProjectEntry, server: string): boolean {
    return this.#policiesOf(project).server(server).hidden;
  }

  /** Whether nothing of a server but single tools can ever be asked for. */
  closesServer(project: ProjectEntry, server: string): boolean {
    const { settled } = this.#policiesOf(project).server(server);
    return settled !== undefined && settled.action !== 'allow';
  }

  /** Whether a policy of the project may hold calls. */
  mayHold(project: ProjectEntry): boolean {
    return this.#policiesOf(project).mayHold;
  }

  /** What policies have against the call; undefined: nothing. */
  stoppedTool(
    from: GatewayRequest,
    tool: { canonical: string; server: string; readOnly: boolean },
    args: JsonObject | undefined,
  ): CallRefusal | Held | undefined {
    const { canonical: name, server, readOnly } = tool;
    const ruling = this.#policiesOf(from.scope.project).tool(name);
    const verdict = verdictOn(ruling, () => factsOf(from, { name, server, readOnly }, args));
    return this.#heldBy(verdict) ?? refusalOf(from, verdict);
  }

  /** An answer to a task carries none of the arguments: it is stopped where no call of the tool would be allowed. */
  deniedTask(from: GatewayRequest, tool: string): CallRefusal | undefined {
    const ruling = this.#policiesOf(from.scope.project).tool(tool);
    return ruling.settled && refusalOf(from, ruling.settled);
  }

  /** Prompts, resources, completions and methods of extensions belong to a server as a whole. */
  deniedServer(from: GatewayRequest, server: string, readOnly: boolean): CallRefusal | undefined {
    const ruling = this.#policiesOf(from.scope.project).server(server);
    const tool = { name: `${server}__*`, server, readOnly };
    return refusalOf(
      from,
      verdictOn(ruling, () => factsOf(from, tool, from.request.params)),
    );
  }

  #heldBy({ action, by, hold: terms }: Verdict): Held | undefined {
    if (action !== 'approve' || !terms || by === 'defaultAction' || 'fault' in by) return undefined;
    const version = this.#deps.policies().entries.get(by.policy)?.fingerprint ?? '';
    return { held: { ...by, version }, terms };
  }

  #policiesOf({ name, spec }: ProjectEntry): ProjectPolicies {
    return this.#deps.policies().book.of(name, spec.defaultAction);
  }
}

function verdictOn(ruling: Ruling, facts: () => Facts): Verdict {
  return ruling.settled ?? ruling.decide(facts);
}

function refusalOf(from: GatewayRequest, verdict: Verdict): CallRefusal | undefined {
  if (verdict.action === 'allow') return undefined;
  from.record?.decidedBy(nameOf(verdict));
  return policyDenied(verdict.reason ?? (verdict.action === 'approve' ? ONLY_TOOL_CALLS : undefined));
}

/** For operators: which rule it was, counted from 0 as in the file. */
function nameOf({ by, failed }: Verdict): { policy: string; rule?: number; failed?: boolean } {
  if (by === 'defaultAction') return { policy: by };
  if ('fault' in by) return { policy: by.policy, failed: true };
  return failed ? { ...by, failed } : by;
}

function factsOf(
  { caller, scope }: GatewayRequest,
  tool: { name: string; server: string; readOnly: boolean },
  args: JsonObject | undefined,
): Facts {
  return {
    args: args ?? {},
    tool: new ToolFacts(tool),
    caller: new CallerFacts({
      owner: caller.owner,
      principal: caller.principal,
      token: caller.tokenName ?? '',
      project: scope.project.name,
      surface: scope.surface,
    }),
  };
}
