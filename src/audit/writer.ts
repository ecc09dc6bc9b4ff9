/**
 * The one writer of the `calls` chain. Events wait in a queue; everything that is there goes out in one commit, and
 * while that is under way the next ones gather.
 *
 * idle      the queue is empty
 * gathering nobody waits for what is in the queue: it goes out together a moment later, for a commit costs many rows
 * writing   one commit is under way
 * failing   the last commit failed: its announcements were rejected, its records wait for another try, and until
 *           `#retryAt` announcements are rejected at once
 *
 * A commit that failed may still have happened. Before the next one the end of the chain is read again: if it is where
 * the failed commit would have left it, those rows are there and are not written twice. A chain whose end somebody else
 * moved is left as it is, for `audit verify` to show, and another one is opened.
 */
import { messageOf, Refusal } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { type Append, tied } from '../store/append.ts';
import type { Store } from '../store/database.ts';
import type { Chains, OpenChain } from './chains.ts';
import type { AuditEvent } from './event.ts';
import { idOf } from './row.ts';
import { AuditUnavailable } from './unavailable.ts';

type Entry = {
  event: AuditEvent;
  intent?: { resolve(id: string): void; reject(error: Error): void };
  /** Called when it was tried to write it. */
  tried?: () => void;
};

const MAX_BATCH = 256;
/** So many rows that nobody waits for are written at once: what waits longer is dearer to collect, and to prepare. */
const PRESSING = 64;
/** How long rows that nobody waits for may gather, ms. */
const GATHER_MS = 20;
const MAX_RECORDS = 10_000;
/** Announcements have room of their own: a flood of records must not stop calls, nor they each other. */
const MAX_WAITING = 12_000;
const RETRY_MS = 500;
const TELL_MS = 10_000;

export type WriterStatus = { waiting: number; lost: number; failing: boolean };

export class AuditWriter {
  readonly #store: Store;
  readonly #chains: Chains;
  readonly #version: string;
  readonly #logger: Logger;
  readonly #committed: () => void;
  #queue: Entry[] = [];
  #underWay: Entry[] = [];
  #chain: OpenChain | undefined;
  #inDoubt: { identity: OpenChain['identity']; append: Append; entries: Entry[] } | undefined;
  #running: Promise<void> | undefined;
  #gathering: NodeJS.Timeout | undefined;
  /** Somebody waits for a row in the queue. */
  #awaited = false;
  #retryAt = 0;
  #retryTimer: NodeJS.Timeout | undefined;
  #closing = false;
  #lost = 0;
  #untold = { count: 0, since: 0 };
  #toldAt = 0;

  constructor(options: {
    store: Store;
    chains: Chains;
    chain: OpenChain;
    version: string;
    logger: Logger;
    committed(): void;
  }) {
    this.#store = options.store;
    this.#chains = options.chains;
    this.#chain = options.chain;
    this.#version = options.version;
    this.#logger = options.logger;
    this.#committed = options.committed;
  }

  /** Id of the chain that it writes to. */
  get chain(): string | undefined {
    return this.#chain?.identity.id;
  }

  get status(): WriterStatus {
    return { waiting: this.#queue.length, lost: this.#lost, failing: this.#retryAt > 0 };
  }

  /** Written within a moment, tried again until it is; lost, and counted, only when too much waits. */
  record(event: AuditEvent): void {
    event.at ??= Date.now();
    if (this.#queue.length < MAX_RECORDS) {
      this.#queue.push({ event });
      this.#start();
    } else this.#lose(event.at);
  }

  /** Resolves with the id of the row once it is on the disk. @throws AuditUnavailable */
  intent(event: AuditEvent): Promise<string> {
    event.at ??= Date.now();
    const unfit = this.#unfit(event.at);
    if (unfit) return Promise.reject(unfit);
    return new Promise((resolve, reject) => {
      this.#queue.push({ event, intent: { resolve, reject } });
      this.#awaited = true;
      this.#start();
    });
  }

  /** The same without waiting for the disk. @throws AuditUnavailable */
  announce(event: AuditEvent): void {
    event.at ??= Date.now();
    const unfit = this.#unfit(event.at);
    if (unfit) throw unfit;
    this.#queue.push({ event });
    this.#start();
  }

  #unfit(now: number): AuditUnavailable | undefined {
    const wait = this.#retryAt - now;
    if (wait <= 0 && this.#queue.length < MAX_WAITING) return undefined;
    return new AuditUnavailable(Math.max(wait, RETRY_MS));
  }

  /** Resolves when what was recorded so far is written, or cannot be now; what comes meanwhile is not waited for. */
  async flush(): Promise<void> {
    const last = this.#queue.at(-1) ?? this.#underWay.at(-1);
    if (!last || this.#retryTimer) return;
    const before = last.tried;
    await new Promise<void>((resolve) => {
      last.tried = () => {
        before?.();
        resolve();
      };
      this.#awaited = true;
      this.#start();
    });
  }

  /** Writes what waits, as far as the database lets it. */
  async close(): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#gathering);
    this.#retryAt = 0;
    while (this.#running) await this.#running;
    await this.#drain();
    if (this.#queue.length > 0) this.#lose(Date.now(), this.#queue.length);
  }

  #start(): void {
    if (this.#running || this.#retryTimer) return;
    if (this.#presses) this.#begin();
    else this.#gathering ??= setTimeout(() => this.#begin(), GATHER_MS);
  }

  /** Whether what is in the queue should go out now. */
  get #presses(): boolean {
    return this.#awaited || this.#queue.length >= PRESSING;
  }

  #begin(): void {
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    // After the events of this turn, so that they share a commit.
    this.#running = new Promise<void>((resolve) => setImmediate(resolve))
      .then(() => this.#drain())
      .finally(() => {
        this.#running = undefined;
        if (this.#queue.length > 0 && !this.#closing) this.#start();
      });
  }

  /** Writes what is there, and goes on while somebody waits for what came meanwhile. */
  async #drain(): Promise<void> {
    while (this.#queue.length > 0 || this.#inDoubt) {
      let entries: Entry[] = [];
      try {
        await this.#settleDoubt();
        entries = this.#queue.splice(0, MAX_BATCH);
        this.#underWay = entries;
        this.#awaited = this.#queue.some((entry) => entry.intent);
        if (entries.length > 0 && !(await this.#write(entries))) {
          this.#queue.unshift(...entries);
          this.#awaited = true;
        }
        this.#retryAt = 0;
      } catch (error) {
        this.#fail(entries, error);
        for (const entry of this.#queue) entry.tried?.();
        return;
      } finally {
        this.#underWay = [];
        for (const { tried } of entries) tried?.();
      }
      if (!this.#presses && !this.#closing) return;
    }
  }

  /** False: the entries have to go out again, on another chain. */
  async #write(entries: Entry[]): Promise<boolean> {
    this.#chain ??= await this.#chains.open('calls', this.#version);
    const chain = this.#chain;
    const append = this.#chains.prepare(
      chain,
      entries.map((entry) => entry.event),
    );
    this.#inDoubt = { identity: chain.identity, append, entries };
    const hash = await this.#store.append(append);
    this.#inDoubt = undefined;
    if (hash === undefined) {
      this.#chain = undefined;
      this.#logger.error(
        { chain: chain.identity.id },
        'the end of the audit chain was moved by somebody else: run castellan audit verify; a new chain begins',
      );
      return false;
    }
    const first = chain.end.seq + 1;
    chain.end = { seq: chain.end.seq + entries.length, hash };
    for (const [at, { intent }] of entries.entries()) intent?.resolve(idOf(chain.identity.id, first + at));
    this.#committed();
    this.#confess();
    return true;
  }

  /** After a failed commit: finds out whether it happened. */
  async #settleDoubt(): Promise<void> {
    const doubt = this.#inDoubt;
    if (!doubt) return;
    const end = await this.#chains.endOf(doubt.identity.id);
    this.#inDoubt = undefined;
    if (end?.hash === tied(doubt.append).hash) this.#chain = { identity: doubt.identity, end };
    else this.#queue.unshift(...doubt.entries.filter((entry) => !entry.intent));
  }

  #fail(entries: Entry[], error: unknown): void {
    this.#retryAt = Date.now() + RETRY_MS;
    const refusal = new AuditUnavailable(RETRY_MS);
    for (const { intent } of [...entries, ...this.#queue]) intent?.reject(refusal);
    this.#queue = this.#queue.filter((entry) => !entry.intent);
    this.#awaited = false;
    if (!(error instanceof Refusal)) {
      // No state of the database: these rows would fail for ever, and every other behind them.
      this.#inDoubt = undefined;
      this.#chain = undefined;
      this.#lose(Date.now(), entries.length);
    } else if (this.#inDoubt?.entries !== entries) {
      // A batch that was handed over may have been written, and the next try finds out; this one was not.
      this.#queue.unshift(...entries.filter((entry) => !entry.intent));
    }
    this.#tell({ error: messageOf(error), waiting: this.#queue.length }, 'the audit cannot be written');
    if (this.#closing) return;
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      if (this.#queue.length > 0 || this.#inDoubt) this.#start();
    }, RETRY_MS).unref();
  }

  #lose(at: number, count = 1): void {
    this.#lost += count;
    this.#untold = { count: this.#untold.count + count, since: this.#untold.since || at };
    this.#tell({ lost: this.#lost }, 'audit records are lost: too many wait to be written');
  }

  /** What was lost is itself a row, as soon as one can be written. */
  #confess(): void {
    const { count, since } = this.#untold;
    if (count === 0) return;
    this.#untold = { count: 0, since: 0 };
    const detail = { count, since: new Date(since).toISOString() };
    this.record({ event: 'audit.lost', outcome: 'told', actor: { kind: 'castellan' }, detail });
  }

  #tell(about: object, message: string): void {
    const now = Date.now();
    if (now - this.#toldAt < TELL_MS) return;
    this.#toldAt = now;
    this.#logger.error(about, message);
  }
}
