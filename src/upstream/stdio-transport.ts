import { Bag } from '../base/bag.ts';
import type { Child, ChildProcesses, ExitStatus } from '../base/child-processes.ts';
import { RecentLines } from '../base/recent-lines.ts';
import { parseMessage } from '../protocol/answer-text.ts';
import type { JsonRpcMessage, JsonRpcRequest, JsonRpcResponse, RequestId } from '../protocol/jsonrpc.ts';
import { LineSplitter } from '../protocol/lines.ts';
import type { Written } from '../protocol/model.ts';
import type { StdioTarget } from '../resources/spec.ts';
import { secretHider } from './secret-hider.ts';
import {
  type Answer,
  type Exchange,
  type ExchangeOptions,
  type FaultKind,
  type Transport,
  type TransportEvents,
  UpstreamFault,
} from './transport.ts';

export type StdioTransportOptions = {
  target: StdioTarget;
  /** Values that nothing it wrote may be shown with, and what is shown instead. */
  confidential?: ReadonlyMap<string, string>;
  serverName: string;
  children: ChildProcesses;
  /** A line of the child that is longer ends the child; at least as large as any exchange's `maxBytes`. */
  maxLineBytes: number;
};

/** Text that may wait for a child that does not read; one message alone may be larger. */
const MAX_WAITING = 8 * 1024 * 1024;
/** Lines that are no JSON-RPC, in a row, after which the child is taken for something else than an MCP server. */
const MAX_STRAY_LINES = 1000;
/** How long the exit status may lag behind the end of the pipes, and the last output behind the exit. */
const SETTLE_MS = 300;

type Pending = {
  id: RequestId;
  resolve(answer: Answer): void;
  reject(fault: UpstreamFault): void;
  maxBytes: number;
};

/**
 * JSON-RPC, one message a line, over the pipes of a child process.
 * new -> opening (open) -> running (it was spawned) -> closed, from any state: by close(), by the child's exit, by a
 * closed pipe, by an over-long line, by a flood of lines that are no JSON-RPC. Closed is final. Answers to unknown ids,
 * repeated answers and stray lines are counted and otherwise ignored.
 */
export class StdioTransport implements Transport {
  readonly kind = 'stdio';
  readonly #options: StdioTransportOptions;
  readonly #events: TransportEvents;
  readonly #pending = new Bag<Pending>();
  readonly #recent = new RecentLines();
  readonly #hideSecrets: (text: string) => string;
  #child: Child | undefined;
  #opening: Promise<void> | undefined;
  #fault: UpstreamFault | undefined;
  #outbox: string[] = [];
  #outboxLength = 0;
  #strayLines = 0;
  #ignored = 0;

  constructor(options: StdioTransportOptions, events: TransportEvents) {
    this.#options = options;
    this.#events = events;
    this.#hideSecrets = secretHider(options.target, options.confidential);
  }

  /** Resolves once the process runs; whether it speaks MCP shows in the first exchange. Spawning needs no deadline. */
  open(): Promise<void> {
    this.#opening ??= this.#spawn();
    return this.#opening;
  }

  exchange(request: JsonRpcRequest, options: ExchangeOptions): Exchange {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    // The caller may look at the answer late; a rejection before that must not end the process.
    promise.catch(() => undefined);
    const refusal = this.#post(request);
    if (refusal) {
      reject(refusal);
      return { answer: promise, abandon: () => undefined };
    }
    const pending: Pending = { id: request.id, resolve, reject, maxBytes: options.maxBytes };
    this.#pending.add(pending);
    return {
      answer: promise,
      abandon: (fault) => {
        this.#pending.delete(pending);
        reject(fault);
      },
    };
  }

  async send(message: JsonRpcMessage): Promise<void> {
    const refusal = this.#post(message);
    if (refusal) throw refusal;
  }

  async close(): Promise<void> {
    this.#finish('unreachable', 'was stopped');
    await this.#opening?.catch(() => undefined);
    await this.#child?.stop();
  }

  diagnostics(): { pid?: number; stderr: string[]; ignoredMessages: number } {
    const stderr = this.#recent.lines().map(this.#hideSecrets);
    const pid = this.#fault ? undefined : this.#child?.pid;
    return { ...(pid === undefined ? {} : { pid }), stderr, ignoredMessages: this.#ignored };
  }

  async #spawn(): Promise<void> {
    if (this.#fault) throw this.#fault;
    const { command, args, env, cwd } = this.#options.target;
    const spawned = await this.#options.children.spawn({ command, args, env, ...(cwd ? { cwd } : {}) });
    if (!spawned.ok) throw this.#finish('unreachable', `could not be started: ${spawned.error}`);
    const child = spawned.value;
    this.#child = child;
    if (this.#fault) throw this.#fault;
    const splitter = new LineSplitter(this.#options.maxLineBytes, {
      onLine: (line, bytes) => this.#onLine(line, bytes),
      onOverflow: () => this.#onOverflow(),
    });
    child.stdout.on('data', (chunk: Buffer) => splitter.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => this.#recent.push(chunk));
    const outputEnded = new Promise<void>((resolve) => child.stdout.once('close', resolve));
    void outputEnded.then(() => this.#onPipeClosed('closed its output'));
    child.stdin.once('error', () => this.#onPipeClosed('closed its input'));
    void child.exited.then(async (status) => {
      await Promise.race([outputEnded, settle()]);
      this.#finish('unreachable', exitSentence(status) + this.#lastWords());
    });
  }

  /** Queues a message; every message of one turn of the event loop leaves in one write. Returns the refusal, if any. */
  #post(message: JsonRpcMessage): UpstreamFault | undefined {
    const child = this.#child;
    if (this.#fault || !child) return this.#fault ?? this.#describe('unreachable', 'has not been started');
    const line = JSON.stringify(message);
    const waiting = this.#outboxLength + child.stdin.writableLength;
    if (waiting > 0 && waiting + line.length > MAX_WAITING) {
      return this.#describe('capacity', `does not read its input: ${waiting} characters wait for it`);
    }
    if (this.#outbox.length === 0) setImmediate(() => this.#flush(child));
    this.#outbox.push(line);
    this.#outboxLength += line.length + 1;
    return undefined;
  }

  #flush(child: Child): void {
    const text = `${this.#outbox.join('\n')}\n`;
    this.#outbox = [];
    this.#outboxLength = 0;
    if (!this.#fault && child.stdin.writable) child.stdin.write(text);
  }

  #onLine(line: string, bytes: number): void {
    if (this.#fault) return;
    const sorted = parseMessage(line);
    if (!sorted) {
      this.#onStrayLine(line);
      return;
    }
    this.#strayLines = 0;
    if (sorted.kind === 'response') this.#onResponse(sorted.message, bytes, sorted.written);
    else this.#events.onMessage(sorted.message);
  }

  #onResponse(message: JsonRpcResponse, bytes: number, written: Written | undefined): void {
    const pending = this.#pending.find(({ id }) => id === message.id);
    if (!pending) {
      this.#ignored += 1;
      return;
    }
    this.#pending.delete(pending);
    if (bytes <= pending.maxBytes) {
      pending.resolve({ message, written });
      return;
    }
    const what = `answered with ${bytes} bytes; ${pending.maxBytes} are allowed`;
    pending.reject(this.#describe('too_large', what, true));
  }

  #onStrayLine(line: string): void {
    this.#ignored += 1;
    this.#strayLines += 1;
    this.#recent.note(`(stdout) ${line.slice(0, 400)}`);
    if (this.#strayLines < MAX_STRAY_LINES) return;
    this.#finish('protocol', `wrote ${MAX_STRAY_LINES} lines in a row that are no JSON-RPC, so it was ended`);
    void this.#child?.stop({ graceMs: 0 });
  }

  #onOverflow(): void {
    const limit = this.#options.maxLineBytes;
    this.#finish('too_large', `wrote a message longer than ${limit} bytes, so it was ended`);
    void this.#child?.stop({ graceMs: 0 });
  }

  /** A closed pipe is mostly the first sign of an exit, whose status says more; otherwise the child is of no more use. */
  async #onPipeClosed(what: string): Promise<void> {
    const child = this.#child;
    if (this.#fault || !child) return;
    await Promise.race([child.exited, settle()]);
    if (this.#fault) return;
    const status = await Promise.race([child.exited, undefined]);
    this.#finish('unreachable', (status ? exitSentence(status) : what) + this.#lastWords());
    void child.stop();
  }

  /** Ends the channel once: rejects what is in flight, tells the owner, and returns the fault that stays. */
  #finish(kind: FaultKind, what: string): UpstreamFault {
    if (this.#fault) return this.#fault;
    const fault = this.#describe(kind, what, false);
    this.#fault = fault;
    this.#outbox = [];
    const inFlight = [...this.#pending];
    const sentFault = inFlight.length > 0 ? new UpstreamFault(kind, fault.message, { sent: true }) : fault;
    for (const pending of inFlight) {
      this.#pending.delete(pending);
      pending.reject(sentFault);
    }
    this.#events.onClosed(fault);
    return fault;
  }

  #describe(kind: FaultKind, what: string, sent = false): UpstreamFault {
    return new UpstreamFault(kind, `server "${this.#options.serverName}" ${what}`, { sent });
  }

  #lastWords(): string {
    const last = this.#recent.lines().at(-1);
    return last ? `; its last line: ${this.#hideSecrets(last).slice(0, 300)}` : '';
  }
}

function exitSentence({ code, signal }: ExitStatus): string {
  return signal ? `was ended by ${signal}` : `exited with code ${code}`;
}

function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, SETTLE_MS).unref());
}
