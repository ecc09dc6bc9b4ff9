import { AsyncLocalStorage } from 'node:async_hooks';
import type { Transaction } from 'kysely';
import { messageOf, Refusal } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { MasterKey } from '../base/seal.ts';
import type { Store } from '../store/database.ts';
import type { Schema } from '../store/schema.ts';
import { ChainKeys } from './chain.ts';
import { Chains, type OpenChain } from './chains.ts';
import type { AuditChange, AuditEvent, AuditOrigin } from './event.ts';
import { AuditWriter, type WriterStatus } from './writer.ts';

export type AuditOptions = { store: Store; masterKey: MasterKey; version: string; logger: Logger };

/**
 * What everybody tells the audit. A process writes two chains: `calls`, by one writer in large commits, and `changes`,
 * whose rows commit together with the change that they tell of.
 */
export class Audit {
  readonly chains: Chains;
  readonly #options: AuditOptions;
  readonly #writer: AuditWriter;
  /** Whose request is being worked on: changes are made many calls below whoever knows that. */
  readonly #origins = new AsyncLocalStorage<{ origin: AuditOrigin; over: boolean }>();
  readonly #listeners = new Set<() => void>();
  #changes: OpenChain | undefined;
  #seen = 0;
  #reopening: Promise<void> | undefined;

  private constructor(options: AuditOptions, chains: Chains, calls: OpenChain, changes: OpenChain) {
    this.#options = options;
    this.chains = chains;
    this.#changes = changes;
    const { store, version, logger } = options;
    const committed = () => {
      for (const listener of this.#listeners) listener();
    };
    this.#writer = new AuditWriter({ store, chains, chain: calls, version, logger, committed });
  }

  static async open(options: AuditOptions): Promise<Audit> {
    const chains = new Chains(options.store, new ChainKeys(options.masterKey));
    const calls = await chains.open('calls', options.version);
    return new Audit(options, chains, calls, await chains.open('changes', options.version));
  }

  get status(): WriterStatus {
    return this.#writer.status;
  }

  /** Queued and committed with others; tried again when the database is away. */
  record(event: AuditEvent): void {
    this.#writer.record(event);
  }

  /** Announces what is about to happen: resolves with the row's id once it is durable. @throws AuditUnavailable */
  intent(event: AuditEvent): Promise<string> {
    return this.#writer.intent(event);
  }

  /** Does the work as this origin: what is told meanwhile is its doing; what it set off and comes later is not. */
  async acting<T>(origin: AuditOrigin, work: () => Promise<T>): Promise<T> {
    const act = { origin, over: false };
    try {
      return await this.#origins.run(act, work);
    } finally {
      act.over = true;
    }
  }

  /** Whoever is acting now; Castellan itself when nobody asked for it. */
  origin(): AuditOrigin {
    const act = this.#origins.getStore();
    return act && !act.over ? act.origin : { actor: { kind: 'castellan' } };
  }

  /** An announcement that nobody waits for. @throws AuditUnavailable when it could not be written now */
  announce(event: AuditEvent): void {
    this.#writer.announce(event);
  }

  /**
   * Rows of a change, committed with it. To be the last thing that the transaction does: what is locked here is locked
   * for every other change too.
   * @throws Refusal `unavailable` when the chain is not as it was left; the change must not happen then
   */
  async append(transaction: Transaction<Schema>, ...changes: AuditChange[]): Promise<void> {
    if (changes.length === 0) return;
    const origin = this.origin();
    const events = changes.map((change) => ({ ...origin, ...change }));
    const chain = this.#changes;
    const before = chain && (await this.chains.appendIn(transaction, chain.identity, this.#seen, events));
    if (!before) {
      this.#reopen(chain);
      throw new Refusal('unavailable', 'the audit cannot be written now; try again in a moment');
    }
    this.#seen = Math.max(this.#seen, before.seq);
  }

  /** Whether this process may still add to the chain. */
  writes(chain: string): boolean {
    return chain === this.#changes?.identity.id || chain === this.#writer.chain;
  }

  argumentsDigest(given: unknown): string {
    return this.chains.keys.argumentsDigest(given);
  }

  /** What was recorded so far is there to be read, unless it cannot be written now. */
  flush(): Promise<void> {
    return this.#writer.flush();
  }

  /** Called after every commit of this process's calls. */
  onCommit(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    await this.#reopening;
    await this.#writer.close();
  }

  /** The transaction that found the damage holds the database: the new chain has to wait for its end. */
  #reopen(lost: OpenChain | undefined): void {
    this.#changes = undefined;
    const { version, logger } = this.#options;
    if (lost) {
      logger.error(
        { chain: lost.identity.id },
        'an audit chain is not as it was left: run castellan audit verify',
      );
    }
    this.#reopening ??= this.chains
      .open('changes', version)
      .then((chain) => {
        this.#seen = 0;
        this.#changes = chain;
      })
      .catch((error) => logger.error({ error: messageOf(error) }, 'no audit chain could be opened'))
      .finally(() => {
        this.#reopening = undefined;
      });
  }
}
