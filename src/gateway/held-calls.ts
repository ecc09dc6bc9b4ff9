import type { Approval } from '../approvals/approval.ts';
import { type Approvals, type Prepared, TooManyWaiting } from '../approvals/approvals.ts';
import { inexactNumber } from '../approvals/call-identity.ts';
import type { Executed, Send } from '../approvals/executions.ts';
import type { Audit } from '../audit/audit.ts';
import { Cancellation } from '../base/cancellation.ts';
import type { AbsentCallers } from '../identity/absent-callers.ts';
import { callerKey } from '../identity/caller.ts';
import { definitionFingerprint } from '../pins/definition.ts';
import { capabilityFault, type InputRequests, NOTHING_RELAYED } from '../protocol/input-requests.ts';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import { MODERN_REVISION } from '../protocol/revisions.ts';
import type { Snapshot } from '../resources/spec.ts';
import { approvalRefusal, outcomeOf, tooManyWaiting } from './approval-answers.ts';
import { CallRecord } from './call-record.ts';
import type { Held } from './gates.ts';
import { invalidParams, policyDenied } from './refusals.ts';
import type { GatewayRequest, Scope } from './scope.ts';
import {
  type AuthorizedCall,
  authorize,
  type GatewayOutcome,
  refused,
  type SendDeps,
  type Sent,
  send,
  type ToolCallDeps,
} from './tool-call.ts';
import type { ViewTool } from './view.ts';

type HeldCallsDeps = Pick<ToolCallDeps, 'views' | 'authorizer' | 'gates'> &
  SendDeps & {
    approvals: Approvals;
    callers: AbsentCallers;
    audit: Audit;
    snapshot: () => Snapshot;
  };

/** A call that somebody has to read as a whole is no larger, characters of its arguments. */
const MAX_ARGUMENTS = 256 * 1024;
const PROGRESS_EVERY_MS = 5_000;
const FIND_TIMEOUT_MS = 20_000;
const ENDED = 'the credential that asked for the call has ended';
const CHANGING = 'a policy that holds it came into force just now; call again';

/** What becomes of a tool call that a policy holds: how its caller learns of it, and how it is made in the end. */
export class HeldCalls {
  readonly #deps: HeldCallsDeps;

  constructor(deps: HeldCallsDeps) {
    this.#deps = deps;
  }

  /** Answers the caller of a held call: with the outcome if there is one, else with where it is decided. */
  async hold(from: GatewayRequest, call: AuthorizedCall, stoppage: Held): Promise<GatewayOutcome> {
    const { tool } = call;
    const { onHold } = from;
    if (!onHold) return refused(policyDenied(CHANGING), tool);
    const fault = unholdable(onHold.written, call.arguments);
    if (fault !== undefined) return invalidParams(fault);
    const asked = this.#deps.bridge.interactions.resume(from, tool.server);
    if ('refused' in asked) return invalidParams(asked.refused);
    if (asked.kind === 'upstream' || asked.kind === 'suspended')
      return invalidParams('params.requestState is of a call that was not held: start again without it');
    try {
      const { approval, isNew } = await this.#request(from, call, stoppage);
      const armed = await this.#makeArmed(from, call, approval, stoppage);
      const answered = asked.kind === 'again' ? asked.answers.results : undefined;
      return await this.#answer(from, call, armed.approval, { isOwn: isNew || armed.made, answered });
    } catch (error) {
      if (error instanceof TooManyWaiting) return refused(tooManyWaiting(), tool);
      throw error;
    }
  }

  /** Makes the call of an approval ready on behalf of a caller who is not there. */
  async execute(approval: Approval): Promise<Prepared> {
    const caller = await this.#deps.callers.find(approval.requester);
    if (!caller) return { void: ENDED };
    const project = this.#deps.snapshot().projects.get(approval.project.name);
    if (project?.uid !== approval.project.uid) return { void: 'its project is gone' };
    if (!caller.surfaces.has(approval.surface))
      return { void: 'the credential that asked for the call no longer opens its surface' };
    const { name } = project;
    const scope: Scope = {
      project,
      surface: approval.surface,
      rights: this.#deps.authorizer.toolRights(caller, name),
    };
    const from: GatewayRequest = {
      caller,
      scope,
      circle: {
        owner: caller.owner,
        principal: callerKey(caller),
        session: `principal:${callerKey(caller)}`,
        relayed: NOTHING_RELAYED,
      },
      request: {
        method: 'tools/call',
        params: {},
        envelope: {
          era: 'modern',
          revision: MODERN_REVISION,
          clientCapabilities: {},
          clientInfo: undefined,
          logLevel: undefined,
          progressToken: undefined,
        },
      },
      mirrored: undefined,
      sink: { notify: () => {} },
      cancellation: new Cancellation(),
      unattended: true,
    };
    const found = await this.#find(from, approval);
    return 'tool' in found ? this.#ready(from, found.tool, approval) : found;
  }

  async #request(from: GatewayRequest, { tool, arguments: args }: AuthorizedCall, { held, terms }: Held) {
    const { approvals, callers, upstreams } = this.#deps;
    // What a server keeps for a session is only there for whoever has that session.
    const bound = upstreams.get(tool.server)?.isolation === 'session';
    const { project, surface } = from.scope;
    return approvals.request(
      {
        requester: callers.keep(from.caller),
        project: { name: project.name, uid: project.uid },
        surface,
        server: tool.server,
        tool: tool.canonical,
        arguments: (args ?? {}) as JsonObject,
        definition: tool.tool.definition,
        policy: held,
        terms: bound ? { ...terms, executeOn: 'retry' } : terms,
      },
      from.caller,
    );
  }

  async #answer(
    from: GatewayRequest,
    call: AuthorizedCall,
    approval: Approval,
    { isOwn, answered }: { isOwn: boolean; answered: { readonly [key: string]: JsonObject } | undefined },
  ): Promise<GatewayOutcome> {
    const { tool } = call;
    const url = pageOf(from, approval);
    const { state } = approval;
    if (state === 'pending' && !answered && url !== undefined && this.#sendsToPages(from)) {
      const { interactions } = this.#deps.bridge;
      return { ok: true, result: interactions.before(from, tool.server, { approval: page(url, tool) }) };
    }
    const declined = answered && Object.values(answered).some(({ action }) => action !== 'accept');
    const patient = from.request.envelope.era === 'legacy' || (answered !== undefined && !declined);
    let now = approval;
    let made = isOwn;
    if (patient && isOpen(now)) {
      now = await this.#wait(from, approval);
      const again = now.state === 'approved' ? this.#standing(from, tool, call.arguments) : undefined;
      if (again) {
        const armed = await this.#makeArmed(from, call, now, again);
        now = armed.approval;
        made ||= armed.made;
      }
    }
    if (isOpen(now)) return refused(approvalRefusal(now, url), tool);
    await this.#deps.approvals.delivered(now);
    return outcomeOf(now, !made, tool);
  }

  /** A client that says that it opens pages, and that a question reaches now. */
  #sendsToPages({ circle, onHold }: GatewayRequest): boolean {
    const asks = { page: { method: 'elicitation/create', params: { mode: 'url' } } };
    return onHold?.canAsk() === true && capabilityFault(asks, circle.relayed) === undefined;
  }

  /** Waits as long as the rule says; whoever goes away meanwhile changes nothing. */
  async #wait(from: GatewayRequest, approval: Approval): Promise<Approval> {
    const { progressToken } = from.request.envelope;
    let progress = 0;
    const tell = () => {
      progress += 1;
      const message = 'waiting for approval';
      from.sink.notify('notifications/progress', { progressToken, progress, message });
    };
    if (progressToken !== undefined) tell();
    const timer = progressToken === undefined ? undefined : setInterval(tell, PROGRESS_EVERY_MS);
    try {
      const left = () => from.cancellation.cancelled !== undefined;
      return await this.#deps.approvals.settled(approval, approval.terms.holdMs, left);
    } finally {
      clearInterval(timer);
    }
  }

  /** The caller of an armed approval is here: the call is made for it, on its own connection. */
  async #makeArmed(
    from: GatewayRequest,
    call: AuthorizedCall,
    approval: Approval,
    stoppage: Held,
  ): Promise<{ approval: Approval; made: boolean }> {
    const { approvals, callers, gates } = this.#deps;
    const armed = approval.state === 'approved' && approval.terms.executeOn === 'retry';
    if (!armed || gates.frozen(from)) return { approval, made: false };
    const bound = this.#deps.upstreams.get(call.tool.server)?.isolation === 'session';
    const circle = bound ? from.circle : { ...from.circle, relayed: NOTHING_RELAYED };
    const { task: _, ...rest } = from.request.params;
    const own: GatewayRequest = {
      ...from,
      circle,
      request: { ...from.request, params: rest },
      cancellation: new Cancellation(),
      unattended: true,
    };
    // It may have waited for a while since it was proven.
    const ended = (await callers.find(approval.requester)) ? undefined : ENDED;
    const found = await this.#find(from, approval);
    if ('later' in found) return { approval, made: false };
    const tool = 'tool' in found ? found.tool : call.tool;
    const changed = ended ?? ('void' in found ? found.void : changeOf(approval, tool, stoppage));
    if (changed !== undefined) {
      await approvals.voided(approval, changed);
      return { approval: await approvals.current(approval), made: false };
    }
    from.record?.approvedAs(approval.id);
    const made = await approvals.executeArmed(approval, this.#sending(own, tool, approval));
    return { approval: await approvals.current(approval), made };
  }

  async #find(
    from: GatewayRequest,
    { server, tool }: Approval,
  ): Promise<{ tool: ViewTool } | { void: string; definition?: JsonObject } | { later: string }> {
    const { upstreams, views } = this.#deps;
    const catalogue = upstreams.get(server)?.catalogue(from.circle);
    if (!catalogue) return { void: `server ${server} is not configured any more` };
    // A server that changes what a tool is need not have told.
    if (!(await catalogue.renewed(Date.now() + FIND_TIMEOUT_MS)))
      return { later: `server ${server} cannot be reached` };
    const { tools, held } = views.current(from.scope, from.circle);
    const named = ({ canonical }: ViewTool) => canonical === tool;
    const found = [...tools.values()].find(named);
    if (found) return { tool: found };
    const waiting = [...held.values()].find(named);
    if (waiting) {
      const { name, definition } = waiting.tool;
      return { void: `the definition of ${name} has changed since, and is not accepted`, definition };
    }
    return { void: 'the tool is gone, or whoever asked for the call may not run it any more' };
  }

  /** Everything that a call has to pass, but for limits: it counted against them when it was asked for. */
  #ready(from: GatewayRequest, tool: ViewTool, approval: Approval): Prepared {
    const frozen = this.#deps.gates.frozen(from);
    if (frozen) return { later: frozen.sentence };
    const changed = this.#changed(from, tool, approval);
    if (changed === undefined) return { send: this.#sending(from, tool, approval) };
    const { definition } = tool.tool;
    const same = definitionFingerprint(definition) === approval.fingerprint;
    return { void: changed, ...(same ? {} : { definition }) };
  }

  /** Why the call is not the one any more that was asked for; undefined: it is. */
  #changed(from: GatewayRequest, tool: ViewTool, approval: Approval): string | undefined {
    const stoppage = this.#standing(from, tool, JSON.parse(approval.argumentsText));
    return stoppage
      ? changeOf(approval, tool, stoppage)
      : 'the rights or the policies of now do not hold this call for an approval';
  }

  /** The rule that holds the call now, for a caller who may make it. */
  #standing(from: GatewayRequest, tool: ViewTool, args: unknown): Held | undefined {
    if (!authorize(this.#deps.authorizer, from, tool)) return undefined;
    const stoppage = this.#deps.gates.stoppedTool(from, tool, args as JsonObject | undefined);
    return stoppage && 'held' in stoppage ? stoppage : undefined;
  }

  /** What sends the call as it was approved, character for character. */
  #sending(from: GatewayRequest, tool: ViewTool, approval: Approval): Send {
    return async () => {
      // Writing the decision and the claim took its time.
      const { id } = approval;
      const against = this.#deps.gates.frozen(from)?.sentence ?? this.#changed(from, tool, approval);
      if (against !== undefined) return notSent(against);
      const args = JSON.parse(approval.argumentsText) as JsonObject;
      const { params } = from.request;
      const { inputResponses: _, requestState: __, _meta: ___, ...rest } = params;
      const request = { ...from.request, params: { ...rest, name: tool.exposed, arguments: args } };
      const own: GatewayRequest = { ...from, request };
      const call = authorize(this.#deps.authorizer, own, tool);
      if (!call) return notSent('whoever asked for the call may not make it any more');
      if (from.record) return executed(await send(this.#deps, own, call));
      const record = new CallRecord(this.#deps.audit, 'tool.call', own);
      own.record = record;
      record.found(tool);
      record.approvedAs(id);
      const sent = await send(this.#deps, own, call);
      return executed(record.end(sent));
    };
  }
}

function executed(sent: Sent): Executed {
  const { written: _, reusable: __, fault, ...stored } = sent as Sent & { written?: unknown };
  if (fault?.sent) return { state: 'unknown', outcome: stored };
  const failed = !stored.ok || stored.result.isError === true;
  return { state: failed ? 'failed' : 'succeeded', outcome: stored };
}

/** The call was claimed, and nobody heard of it. */
function notSent(reason: string): Executed {
  const text = `The call was approved, and then not made: ${reason}. Call again in a minute to ask anew.`;
  return {
    state: 'failed',
    outcome: { ok: true, result: { content: [{ type: 'text', text }], isError: true } },
  };
}

/** What is not as it was when the call was asked for. */
function changeOf({ fingerprint, policy }: Approval, { tool }: ViewTool, { held }: Held): string | undefined {
  if (definitionFingerprint(tool.definition) !== fingerprint)
    return `the definition of ${tool.name} has changed since`;
  if (held.policy !== policy.policy) return `policy ${held.policy} decides now, and not ${policy.policy}`;
  return held.version === policy.version ? undefined : `policy ${policy.policy} has changed since`;
}

/** Why nobody could be asked about the call as it came. */
function unholdable(written: Buffer, args: unknown): string | undefined {
  if (written.length > MAX_ARGUMENTS && JSON.stringify(args ?? {}).length > MAX_ARGUMENTS)
    return `params.arguments: a call that waits for approval has at most ${MAX_ARGUMENTS} characters of them`;
  const inexact = inexactNumber(written.toString('utf8'));
  return inexact === undefined
    ? undefined
    : `params.arguments: ${inexact.slice(0, 60)} is a number that JSON programs read differently; write it as text`;
}

function isOpen({ state }: Approval): boolean {
  return state === 'pending' || state === 'approved' || state === 'executing';
}

function pageOf({ onHold }: GatewayRequest, { id }: Approval): string | undefined {
  return onHold?.origin === undefined ? undefined : `${onHold.origin}/approvals/${id}`;
}

function page(url: string, tool: ViewTool): InputRequests[string] {
  const message = `${tool.exposed} waits for approval. Open the page to see the whole call and to decide, or to see who does.`;
  return { method: 'elicitation/create', params: { mode: 'url', url, message } };
}
