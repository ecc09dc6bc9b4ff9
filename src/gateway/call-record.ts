import type { Audit } from '../audit/audit.ts';
import type { AuditEvent, AuditEventName, AuditOutcome } from '../audit/event.ts';
import { recordedArguments } from '../audit/redact.ts';
import { AuditUnavailable } from '../audit/unavailable.ts';
import { auditActor } from '../identity/audit-actor.ts';
import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import type { NeutralOutcome } from '../protocol/model.ts';
import type { OwnTool } from './own/own-tool.ts';
import { auditUnavailable, type CallRefusal, ERROR_META } from './refusals.ts';
import type { GatewayRequest } from './scope.ts';
import { traceOf } from './trace.ts';
import type { ViewTool } from './view.ts';

/** The event that tells how a request of each method ended; what is not here asks nothing of a server. */
export const RECORDED: { readonly [method: string]: AuditEventName } = {
  'tools/call': 'tool.call',
  'prompts/get': 'prompt.get',
  'resources/read': 'resource.read',
  'completion/complete': 'completion.complete',
  'tasks/get': 'task.get',
  'tasks/result': 'task.result',
  'tasks/update': 'task.update',
  'tasks/cancel': 'task.cancel',
};

/** One request on its way, as the audit will tell of it: exactly one row says how it ended. */
export class CallRecord {
  readonly #audit: Audit;
  #from: GatewayRequest;
  readonly #event: AuditEvent;
  readonly #startedAt = performance.now();
  /** Of the arguments. */
  #schema: unknown;
  #sent = false;
  #approval: string | undefined;
  #rule: { policy: string; rule?: number; failed?: boolean } | undefined;

  constructor(audit: Audit, event: AuditEventName, from: GatewayRequest) {
    const { caller, scope, request } = from;
    this.#audit = audit;
    this.#from = from;
    this.#event = {
      event,
      outcome: 'ok',
      actor: auditActor(caller),
      project: scope.project.name,
      surface: scope.surface,
      trace: traceOf(request.params._meta, from.traceparent),
    };
    if (event === 'tool.call') this.#namedBy(from);
  }

  /** It is the call of a tool of our own. */
  foundHere({ secret = [] }: OwnTool): void {
    this.#schema = { properties: Object.fromEntries(secret.map((name) => [name, { writeOnly: true }])) };
  }

  /** It is really the call of another tool, and told of as that alone. */
  becomes(inner: GatewayRequest): void {
    this.#from = inner;
    this.#namedBy(inner);
  }

  /** No server has to hear of it. */
  answeredHere(): void {
    this.#sent = true;
  }

  /** Until it is found, all that is known of a tool is what the caller called it. */
  #namedBy({ request }: GatewayRequest): void {
    const { name, arguments: args } = request.params;
    if (typeof name === 'string') this.#event.tool = name;
    this.#event.digest = this.#audit.argumentsDigest(args);
  }

  /** The tool is known, and with it what everybody else calls it. */
  found(tool: ViewTool): void {
    this.#schema = tool.tool.definition.inputSchema;
    this.#event.server = tool.server;
    this.#event.tool = tool.canonical;
  }

  /** Which policy refused it, for those who read the audit. */
  decidedBy(rule: { policy: string; rule?: number; failed?: boolean }): void {
    this.#rule = rule;
  }

  /** The call is made because somebody approved it. */
  approvedAs(approval: string): void {
    this.#approval = approval;
  }

  meantFor(server: string): void {
    this.#event.server = server;
  }

  /** The last step before the server hears of it. */
  goesTo(server: string): void {
    this.#event.server = server;
    this.#sent = true;
  }

  /**
   * Announces a call that may change something: resolves once that is on the disk, or, where the project is content
   * with less, is queued. @throws AuditUnavailable
   */
  async announce(): Promise<void> {
    const { audit } = this.#from.scope.project.spec;
    const intent: AuditEvent = {
      ...this.#event,
      event: 'tool.intent',
      outcome: 'allowed',
      detail: this.#arguments(),
    };
    if (audit.intent === 'strict') this.#event.intent = await this.#audit.intent(intent);
    else this.#audit.announce(intent);
  }

  /** A built-in tool has refused it: nothing was done. */
  undone(): void {
    this.#sent = false;
  }

  /** Id of the row that announced it. */
  get intent(): string | undefined {
    return this.#event.intent;
  }

  /** Tells how it ended, and passes that on. */
  end<Outcome extends NeutralOutcome>(outcome: Outcome): Outcome {
    const code = refusalCode(outcome);
    const event = this.#event;
    event.outcome = this.#outcomeOf(outcome, code);
    event.durationMs = performance.now() - this.#startedAt;
    const recorded = event.intent === undefined ? this.#arguments() : undefined;
    const rpcCode = outcome.ok ? undefined : outcome.error.code;
    const method = event.event === 'extension.call' ? this.#from.request.method : undefined;
    const approval = this.#approval;
    if (code ?? rpcCode ?? method ?? approval ?? recorded)
      event.detail = { code, rpcCode, method, approval, ...this.#rule, ...recorded };
    this.#audit.record(event);
    return outcome;
  }

  /** It ended in a way that nobody expected. */
  broke(): void {
    this.#event.outcome = 'error';
    this.#event.durationMs = performance.now() - this.#startedAt;
    this.#audit.record(this.#event);
  }

  #outcomeOf(outcome: NeutralOutcome, code: string | undefined): AuditOutcome {
    if (!this.#sent) return 'refused';
    if (!outcome.ok || code !== undefined) return 'error';
    if (outcome.result.resultType === 'input_required') return 'input_required';
    return outcome.result.isError === true ? 'tool_error' : 'ok';
  }

  #arguments(): { arguments: unknown } | undefined {
    const { scope, request } = this.#from;
    if (!scope.project.spec.audit.arguments || this.#event.event !== 'tool.call') return undefined;
    return { arguments: recordedArguments(request.params.arguments ?? {}, this.#schema) };
  }
}

/** Our own refusals carry a code; what a server wrote is not looked into. */
function refusalCode(outcome: NeutralOutcome): string | undefined {
  if (!outcome.ok) return codeIn(outcome.error.data);
  if (outcome.written || outcome.result.isError !== true) return undefined;
  return codeIn((outcome.result._meta as JsonObject | undefined)?.[ERROR_META]);
}

function codeIn(value: unknown): string | undefined {
  return isObject(value) && typeof value.code === 'string' ? value.code.slice(0, 64) : undefined;
}

/** A call that may change something is on record before its server hears of it; else the refusal of the call. */
export async function unannounced(from: GatewayRequest): Promise<CallRefusal | undefined> {
  try {
    await from.record?.announce();
    return undefined;
  } catch (error) {
    if (!(error instanceof AuditUnavailable)) throw error;
    return auditUnavailable(error.retryAfterMs);
  }
}
