import { Bag } from '../base/bag.ts';
import type { Cancellation } from '../base/cancellation.ts';
import { encodeHeaderValue, mirroredName } from '../protocol/headers.ts';
import {
  capabilityFault,
  type InputAnswers,
  type InputRequest,
  type InputRequests,
  NOTHING_RELAYED,
  type Relayed,
} from '../protocol/input-requests.ts';
import {
  ErrorCode,
  type JsonObject,
  type JsonRpcError,
  type JsonRpcNotification,
  type JsonRpcRequest,
  type JsonRpcResponse,
} from '../protocol/jsonrpc.ts';
import type { McpLogLevel } from '../protocol/log-levels.ts';
import type { Implementation, Written } from '../protocol/model.ts';
import { relatedTaskOf } from '../protocol/related-task.ts';
import type { Era } from '../protocol/revisions.ts';
import { codecs } from '../protocol/wire/table.ts';
import { isForeign } from './era-check.ts';
import { type Leg, type LegEnd, LiveCall } from './live-call.ts';
import type { Channel } from './peer.ts';
import { SessionLogLevel } from './session-log-level.ts';
import { Subscription, subscriptionOf } from './subscription.ts';
import { TaskQuestions } from './task-questions.ts';
import { type Answer, type Exchange, type ExchangeOptions, UpstreamFault } from './transport.ts';

/** What a call's caller wants to hear of the server's log while it runs. */
export type WantedLogs = {
  level: McpLogLevel;
  /** Its caller asked for this level; else it is what callers get who never said. */
  explicit: boolean;
  /** Takes the params of every message, whatever its level. */
  onLog(params: JsonObject): void;
};

export type UpstreamCall = {
  method: string;
  /** Payload in the upstream's own names; `_meta` holds only what passes through. */
  params: JsonObject;
  /** `Mcp-Param-*` headers that mirror the arguments (modern HTTP only). */
  paramHeaders?: Record<string, string>;
  logs?: WantedLogs;
  /** Progress of this call, with its token taken out. Asking for none sends no token upstream. */
  onProgress?: (params: JsonObject) => void;
  /** What its caller can be asked, when it can be asked anything. */
  relayed?: Relayed;
  cancellation?: Cancellation;
  /** Epoch ms. */
  deadline: number;
  maxBytes: number;
};

/**
 * `suspended`: a legacy server is asking its caller something and goes on once it has the answers. A modern server
 * asks in a result of type `input_required`.
 */
export type UpstreamReply =
  | { ok: true; result: JsonObject; written?: Written | undefined }
  /** `foreign`: the server seems to speak another era than it did when it was asked. */
  | { ok: false; error: JsonRpcError; foreign?: boolean }
  | { ok: 'suspended'; call: SuspendedCall };

export type SuspendedCall = {
  readonly requests: InputRequests;
  /** Calls back when the server is done with the call, however it ends. */
  whenSettled(listener: () => void): void;
  resume(answers: InputAnswers, leg: HeardLeg): Promise<UpstreamReply>;
  /** The caller cannot be asked these things: the server hears so and may still answer. */
  decline(reason: string, leg: HeardLeg): Promise<UpstreamReply>;
};

/** A stretch of a call with who hears its log and its progress meanwhile. */
export type HeardLeg = Leg & Pick<UpstreamCall, 'logs' | 'onProgress'>;

const SET_LEVEL_MS = 5_000;
const SET_LEVEL_BYTES = 64 * 1024;
/** Tasks of one connection whose progress is passed on after the call that began them was answered. */
const MAX_TASKS_REPORTING = 256;

/** A call on a legacy server that may ask its caller. */
type LiveLeg = { channel: Channel; method: string; running: Running };

/** One call under way. */
type Running = {
  readonly id: number;
  /** The task whose result it fetches: what the server asks for the task is asked there. */
  readonly task: string | undefined;
  /** `mute`: its caller can be asked nothing · `none`: nobody called, we ask on our own behalf */
  readonly caller: 'live' | 'mute' | 'none';
  live: LiveCall | undefined;
  /** What the server asked a mute caller all the same. */
  asked: InputRequest | undefined;
  progress: Progress | undefined;
  onLog: ((params: JsonObject) => void) | undefined;
};

/** The calls under way on one connection: ids, progress tokens, deadlines, cancellation. */
export class Calls {
  private readonly self: Implementation;
  /** Takes what arrives on a call's own stream and is not its answer. */
  private readonly receive: (message: JsonRpcRequest | JsonRpcNotification, exchangeId: number) => void;
  private nextId = 1;
  private readonly running = new Bag<Running>();
  private readonly subscriptions = new Map<number, Subscription>();
  private readonly taskQuestions = new TaskQuestions();
  /** Answered calls that began a task, oldest first: their progress token stays valid. */
  private readonly reporting: Progress[] = [];
  private readonly logLevel = new SessionLogLevel((channel, params) =>
    this.run(channel, {
      method: 'logging/setLevel',
      params,
      deadline: Date.now() + SET_LEVEL_MS,
      maxBytes: SET_LEVEL_BYTES,
    }),
  );

  constructor(
    self: Implementation,
    receive: (message: JsonRpcRequest | JsonRpcNotification, exchangeId: number) => void,
  ) {
    this.self = self;
    this.receive = receive;
  }

  /** Throws or rejects with an UpstreamFault. */
  run(channel: Channel, call: UpstreamCall): Promise<UpstreamReply> {
    const left = call.cancellation?.cancelled;
    // The caller went away while the server was being reached: nothing has been sent, so nothing will be.
    if (left !== undefined) throw new UpstreamFault('abandoned', left);
    const telling = call.logs?.explicit ? this.logLevel.ensure(channel, call.logs.level) : undefined;
    return telling ? telling.then(() => this.begin(channel, call)) : this.begin(channel, call);
  }

  private begin(channel: Channel, call: UpstreamCall): Promise<UpstreamReply> {
    const { peer, transport } = channel;
    const id = this.nextId;
    this.nextId += 1;
    const exchange = transport.exchange(this.requestOf(channel, call, id), this.optionsOf(channel, call, id));
    const mayAsk = peer.era === 'legacy' && call.relayed !== undefined && call.relayed.signature !== '';
    const running: Running = {
      id,
      task: peer.era === 'legacy' && call.method === 'tasks/result' ? String(call.params.taskId) : undefined,
      caller: mayAsk ? 'live' : call.relayed ? 'mute' : 'none',
      live: undefined,
      asked: undefined,
      progress: call.onProgress && new Progress(id, call.onProgress),
      onLog: call.logs?.onLog,
    };
    this.running.add(running);
    return mayAsk
      ? this.runLive(channel, exchange, call, running)
      : this.runMute(channel, exchange, call, running);
  }

  private async runLive(
    channel: Channel,
    exchange: Exchange,
    call: UpstreamCall,
    running: Running,
  ): Promise<UpstreamReply> {
    const { transport } = channel;
    const live = new LiveCall(transport, exchange, running.id, () => this.settle(running, call));
    running.live = live;
    if (running.task !== undefined)
      for (const asked of this.taskQuestions.take(running.task, transport)) live.ask(asked);
    return this.replyOf({ channel, method: call.method, running }, await live.run(call));
  }

  private runMute(
    channel: Channel,
    exchange: Exchange,
    call: UpstreamCall,
    running: Running,
  ): Promise<UpstreamReply> {
    const timer = setTimeout(
      () => giveUp(channel, exchange, running.id, lateFault(call.method)),
      Math.max(1, call.deadline - Date.now()),
    );
    const offCancel = call.cancellation?.onCancel((reason) =>
      giveUp(channel, exchange, running.id, new UpstreamFault('abandoned', reason, { sent: true })),
    );
    const over = () => {
      clearTimeout(timer);
      offCancel?.();
      this.settle(running, call);
    };
    return exchange.answer.then(
      (answer) => {
        over();
        const reply = replyTo(channel.peer.era, call.method, answer);
        const { asked } = running;
        // A server that can do without the answer has the last word.
        const failedForIt = asked && (!reply.ok || ('result' in reply && reply.result.isError === true));
        return failedForIt ? { ok: false, error: capabilityFault({ asked }, NOTHING_RELAYED)! } : reply;
      },
      (fault) => {
        over();
        throw fault;
      },
    );
  }

  /** A call is over. The progress of one that may have become a task goes on. */
  private settle(running: Running, call: UpstreamCall): void {
    this.running.delete(running);
    if (!running.progress || call.params.task === undefined) return;
    this.reporting.push(running.progress);
    if (this.reporting.length > MAX_TASKS_REPORTING) this.reporting.shift();
  }

  private requestOf({ peer }: Channel, call: UpstreamCall, id: number): JsonRpcRequest {
    const params = codecs[peer.era].encodeRequest(call.method, call.params, {
      revision: peer.revision,
      clientInfo: this.self,
      clientCapabilities: call.relayed?.modern ?? {},
      progressToken: call.onProgress ? id : undefined,
      logLevel: call.logs?.level,
    });
    return { jsonrpc: '2.0', id, method: call.method, params };
  }

  private optionsOf({ peer, transport }: Channel, call: UpstreamCall, id: number): ExchangeOptions {
    const options: ExchangeOptions = {
      maxBytes: call.maxBytes,
      onMessage: (message) => this.receive(message, id),
    };
    if (peer.era === 'modern' && transport.kind === 'http')
      options.headers = modernHeaders(call, peer.revision);
    return options;
  }

  /**
   * Hands a server's question to the call that caused it: the one that fetches the result of the task that it names,
   * the one whose stream it came on, else the only one that is under way. False: that cannot be told, and nobody else
   * may be asked.
   */
  attribute(request: JsonRpcRequest, exchangeId: number | undefined, channel: Channel | undefined): boolean {
    const task = relatedTaskOf(request.params);
    const call = task === undefined ? this.calledBy(exchangeId) : this.fetching(task);
    if (!call) {
      return task !== undefined && channel !== undefined
        ? this.taskQuestions.keep(task, request, channel.transport)
        : false;
    }
    call.live?.ask(request);
    if (call.caller === 'mute') call.asked = request;
    return call.live !== undefined;
  }

  /** The call on whose stream something came, else the one that is under way, if it is one. */
  private calledBy(exchangeId: number | undefined): Running | undefined {
    if (exchangeId !== undefined) return this.running.find(({ id }) => id === exchangeId);
    // What belongs to a task says so: whoever waits for one is not meant.
    const isMeant = (one: Running) => one.caller !== 'none' && one.task === undefined;
    const first = this.running.find(isMeant);
    return this.running.find((one) => one !== first && isMeant(one)) ? undefined : first;
  }

  /** The `tasks/result` under way for a task. */
  private fetching(task: string): Running | undefined {
    return this.running.find((one) => one.task === task);
  }

  /** Delivers a progress notification to the call whose token it carries. False: it is something else. */
  progress(method: string, params: JsonObject): boolean {
    if (method !== 'notifications/progress') return false;
    const { progressToken, ...rest } = params;
    const isMeant = ({ id }: { id: number }) => id === progressToken;
    (this.running.find(isMeant)?.progress ?? this.reporting.find(isMeant))?.report(rest);
    return true;
  }

  /**
   * Delivers a log message to the call on whose stream it came, else to the only one that is under way. False: it may
   * belong to any of several callers, so none of them may read it.
   */
  log(params: JsonObject, exchangeId: number | undefined): boolean {
    const task = relatedTaskOf(params);
    const call =
      exchangeId !== undefined || task === undefined ? this.calledBy(exchangeId) : this.fetching(task);
    call?.onLog?.(params);
    return call !== undefined || exchangeId !== undefined;
  }

  /** Has a modern server tell of what changes, until it is stopped or ends by itself. */
  subscribe(
    channel: Channel,
    notifications: JsonObject,
    onNotice: (method: string, params: JsonObject) => void,
  ): Subscription {
    const id = this.nextId;
    this.nextId += 1;
    const subscription = new Subscription(channel, { self: this.self, id, notifications, onNotice });
    this.subscriptions.set(id, subscription);
    void subscription.ended.then(() => this.subscriptions.delete(id));
    return subscription;
  }

  /** Delivers what carries the id of a subscription where all messages share one stream. False: it carries none. */
  notice(message: JsonRpcNotification, params: JsonObject): boolean {
    const id = subscriptionOf(params);
    if (id === undefined) return false;
    if (typeof id === 'number') this.subscriptions.get(id)?.receive(message);
    return true;
  }

  /** The end of a leg on a legacy server as a reply. */
  private replyOf(call: LiveLeg, end: LegEnd): UpstreamReply {
    if ('answer' in end) return replyTo('legacy', call.method, end.answer);
    const live = end.asking;
    const suspended: SuspendedCall = {
      requests: live.requests,
      whenSettled: (listener) => live.whenSettled(listener),
      resume: async (answers, leg) => {
        await this.hear(call, leg);
        return this.replyOf(call, await live.resume(answers, leg));
      },
      decline: async (reason, leg) => this.replyOf(call, await live.decline(reason, leg)),
    };
    return { ok: 'suspended', call: suspended };
  }

  /** The caller came back on another stream: from now on the call is heard there. */
  private async hear({ channel, running }: LiveLeg, { logs, onProgress }: HeardLeg): Promise<void> {
    if (running.progress) running.progress.listener = onProgress;
    running.onLog = logs?.onLog;
    if (logs?.explicit) await this.logLevel.ensure(channel, logs.level);
  }

  /** What a legacy server gets for a request of its own. */
  answerTo(request: JsonRpcRequest): JsonRpcResponse {
    if (request.method === 'ping') return { jsonrpc: '2.0', id: request.id, result: {} };
    const error = { code: ErrorCode.methodNotFound, message: `castellan does not offer ${request.method}` };
    return { jsonrpc: '2.0', id: request.id, error };
  }
}

function lateFault(method: string): UpstreamFault {
  return new UpstreamFault('timeout', `no answer to ${method} in time`, { sent: true });
}

/** Stops waiting for the answer of a call that asks nothing, and tells the server where no closed stream does. */
function giveUp({ peer, transport }: Channel, exchange: Exchange, id: number, fault: UpstreamFault): void {
  exchange.abandon(fault);
  if (peer.era !== 'legacy' && transport.kind !== 'stdio') return;
  const params = { requestId: id, reason: fault.message };
  transport.send({ jsonrpc: '2.0', method: 'notifications/cancelled', params }).catch(() => {});
}

function replyTo(era: Era, method: string, { message, written, status }: Answer): UpstreamReply {
  const codec = codecs[era];
  if ('error' in message) {
    const error = codec.decodeError(method, message.error);
    return isForeign(era, error, status) ? { ok: false, error, foreign: true } : { ok: false, error };
  }
  const decoded = codec.decodeResult(method, message.result);
  if (!decoded.ok) throw new UpstreamFault('protocol', `invalid answer: ${decoded.reason}`, { sent: true });
  return { ok: true, result: decoded.result, written };
}

function modernHeaders(call: UpstreamCall, revision: string): Record<string, string> {
  const headers: Record<string, string> = {
    'mcp-protocol-version': revision,
    'mcp-method': call.method,
    ...call.paramHeaders,
  };
  const name = mirroredName(call.method, call.params);
  if (name !== undefined) headers['mcp-name'] = encodeHeaderValue(name);
  return headers;
}

/** Progress must increase (2026-07-28 basic/patterns/progress): a report that does not is dropped. */
class Progress {
  readonly id: number;
  listener: ((params: JsonObject) => void) | undefined;
  private last = Number.NEGATIVE_INFINITY;

  constructor(id: number, listener: (params: JsonObject) => void) {
    this.id = id;
    this.listener = listener;
  }

  report(params: JsonObject): void {
    const { progress } = params;
    if (typeof progress !== 'number' || progress <= this.last) return;
    this.last = progress;
    this.listener?.(params);
  }
}
