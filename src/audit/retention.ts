import { messageOf } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Store } from '../store/database.ts';
import type { AuditChainsTable } from '../store/schema.ts';
import type { Audit } from './audit.ts';
import { sameSeal } from './chain.ts';
import { baseHolds, chainRows, headHolds, identityOf, lockManifest, writeManifest } from './chains.ts';

const EVERY_MS = 3_600_000;
const FIRST_MS = 60_000;
/** Rows of one transaction; others wait for it. */
const STEP = 1_000;

export type RetentionOptions = { store: Store; audit: Audit; keepMs: number; logger: Logger };

/**
 * Takes away what is older than the audit is kept for: of each chain the oldest rows, leaving a signed checkpoint that
 * the rest begins at, and chains that are empty and older than all others. What does not verify is left for people.
 */
export class AuditRetention {
  readonly #options: RetentionOptions;
  #timer: NodeJS.Timeout;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(options: RetentionOptions) {
    this.#options = options;
    this.#timer = setTimeout(() => this.#due(), FIRST_MS).unref();
  }

  /** @returns how many rows went */
  async prune(now: number): Promise<number> {
    const cutoff = now - this.#options.keepMs;
    if (cutoff === Number.NEGATIVE_INFINITY) return 0;
    let count = 0;
    const chains = await chainRows(this.#options.store.db)
      .where('opened_at', '<', cutoff)
      .orderBy('ordinal')
      .execute();
    for (const chain of chains) {
      for (let step = STEP; step === STEP && !this.#closed; count += step) {
        step = await this.#shorten(chain.id, cutoff);
      }
    }
    await this.#dropEmpty(cutoff);
    return count;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #due(): void {
    const { logger } = this.#options;
    this.#running = this.prune(Date.now())
      .then((count) => {
        if (count > 0) logger.info({ count }, 'old audit rows were removed');
      })
      .catch((error) => logger.warn({ error: messageOf(error) }, 'old audit rows could not be removed'))
      .finally(() => {
        if (!this.#closed) this.#timer = setTimeout(() => this.#due(), EVERY_MS).unref();
      });
  }

  /** Removes up to `STEP` rows at the beginning of a chain; the last row that goes becomes its checkpoint. */
  async #shorten(id: string, cutoff: number): Promise<number> {
    const { store, audit } = this.#options;
    const { keys } = audit.chains;
    return store.db.transaction().execute(async (transaction) => {
      await lockManifest(transaction);
      const chain = await chainRows(transaction).where('id', '=', id).executeTakeFirst();
      if (!chain || !baseHolds(keys, chain) || !headHolds(keys, chain)) return 0;
      const rows = await transaction
        .selectFrom('audit_events')
        .select(['seq', 'at', 'hash'])
        .where('chain', '=', id)
        .where('seq', '>', chain.base_seq)
        .where('seq', '<=', chain.head_seq)
        .orderBy('seq')
        .limit(STEP)
        .execute();
      const keep = rows.findIndex((row, index) => row.at >= cutoff || row.seq !== chain.base_seq + 1 + index);
      const old = keep < 0 ? rows : rows.slice(0, keep);
      const last = old.at(-1);
      if (!last) return 0;
      const end = { seq: last.seq, hash: last.hash };
      await transaction
        .updateTable('audit_chains')
        .set({
          base_seq: end.seq,
          base_hash: end.hash,
          base_seal: keys.endSeal('base', identityOf(chain), end),
        })
        .where('id', '=', id)
        .execute();
      await transaction
        .deleteFrom('audit_events')
        .where('chain', '=', id)
        .where('seq', '<=', last.seq)
        .execute();
      await audit.append(transaction, {
        event: 'audit.pruned',
        outcome: 'ok',
        actor: { kind: 'castellan' },
        detail: { chain: id, ordinal: chain.ordinal, upTo: last.seq, count: old.length },
      });
      return old.length;
    });
  }

  /** The manifest begins at the first chain that still has rows, or may still get some. */
  async #dropEmpty(cutoff: number): Promise<void> {
    const { store, audit } = this.#options;
    const { keys } = audit.chains;
    const isDone = (chain: AuditChainsTable) =>
      chain.opened_at < cutoff &&
      chain.base_seq === chain.head_seq &&
      baseHolds(keys, chain) &&
      headHolds(keys, chain) &&
      !audit.writes(chain.id);
    await store.db.transaction().execute(async (transaction) => {
      await lockManifest(transaction);
      const manifest = await transaction.selectFrom('audit_manifest').selectAll().executeTakeFirstOrThrow();
      let first = manifest.first_ordinal;
      const held = { first, last: manifest.last_ordinal };
      if (!sameSeal(manifest.seal, keys.manifestSeal(held))) return;
      const chains = await chainRows(transaction).orderBy('ordinal').limit(STEP).execute();
      const gone: string[] = [];
      for (const chain of chains) {
        if (chain.ordinal !== first || chain.ordinal === manifest.last_ordinal || !isDone(chain)) break;
        gone.push(chain.id);
        first += 1;
      }
      if (gone.length === 0) return;
      await transaction.deleteFrom('audit_chains').where('id', 'in', gone).execute();
      await writeManifest(transaction, keys, { first, last: manifest.last_ordinal });
    });
  }
}
