import type { Kysely, Transaction } from 'kysely';
import { newId } from '../base/ids.ts';
import { type Append, type Cell, tied } from '../store/append.ts';
import type { Store } from '../store/database.ts';
import type { AuditChainsTable, AuditManifestTable, Schema } from '../store/schema.ts';
import { type ChainEnd, type ChainIdentity, type ChainKeys, type ChainKind, sameSeal } from './chain.ts';
import type { AuditEvent } from './event.ts';
import { COLUMNS, cellsOf, TABLE_COLUMNS } from './row.ts';

const CASTELLAN = { kind: 'castellan' } as const;
/** How many other chains a new one bears witness of. */
const WITNESSED = 16;

export type OpenChain = { identity: ChainIdentity; end: ChainEnd };

/** Writes chains: opens one, adds to it, and knows nothing of what the events mean. */
export class Chains {
  readonly keys: ChainKeys;
  readonly #store: Store;

  constructor(store: Store, keys: ChainKeys) {
    this.#store = store;
    this.keys = keys;
  }

  /**
   * Opens a chain. Its first row names the heads of the chains before it, so that none of those can be set back alone,
   * and a manifest that does not hold is put down in a row of its own before a new one is written.
   */
  async open(kind: ChainKind, version: string): Promise<OpenChain> {
    return this.#store.db.transaction().execute(async (transaction) => {
      await lockManifest(transaction);
      const before = await chainRows(transaction).orderBy('ordinal', 'desc').limit(WITNESSED).execute();
      const manifest = await transaction.selectFrom('audit_manifest').selectAll().executeTakeFirst();
      const damage = this.#manifestDamage(manifest, before[0]);
      const last = Math.max(Number(manifest?.last_ordinal ?? 0), before[0]?.ordinal ?? 0) + 1;
      const first = manifest && !damage ? manifest.first_ordinal || last : await lowest(transaction, last);
      const identity = { id: newId('ach'), ordinal: last, kind, openedAt: Date.now() };
      const heads = before.map(({ id, head_seq, head_hash }) => [id, head_seq, head_hash]);
      const events: AuditEvent[] = [
        { event: 'audit.opened', outcome: 'told', actor: CASTELLAN, detail: { kind, version, heads } },
      ];
      if (damage) {
        events.push({ event: 'audit.damaged', outcome: 'told', actor: CASTELLAN, detail: { found: damage } });
      }
      const base = { seq: 0, hash: this.keys.genesis(identity) };
      const { rows, mark, hash } = tied(this.prepare({ identity, end: base }, events));
      const end = { seq: rows.length, hash };
      await transaction
        .insertInto('audit_chains')
        .values({
          id: identity.id,
          ordinal: last,
          kind,
          opened_at: identity.openedAt,
          head_seq: end.seq,
          head_hash: end.hash,
          head_seal: String(mark.set.head_seal),
          base_seq: 0,
          base_hash: base.hash,
          base_seal: this.keys.endSeal('base', identity, base),
        })
        .execute();
      await insert(transaction, rows);
      await writeManifest(transaction, this.keys, { first, last });
      return { identity, end };
    });
  }

  /** The events as rows after the chain's end, and what the store is to do with them. */
  prepare({ identity, end }: OpenChain, events: readonly AuditEvent[]): Append {
    const now = Date.now();
    const last = end.seq + events.length;
    return {
      into: 'audit_events',
      columns: TABLE_COLUMNS,
      rows: events.map((event, at) => cellsOf(event, identity.id, end.seq + 1 + at, now)),
      tie: this.keys.tie(identity, end, last),
      mark: {
        table: 'audit_chains',
        set: { head_seq: last },
        where: { id: identity.id, head_hash: end.hash },
      },
    };
  }

  /** Adds rows within a transaction of somebody else; they stand or fall with it. Undefined: the head does not hold. */
  async appendIn(
    transaction: Transaction<Schema>,
    identity: ChainIdentity,
    seen: number,
    events: readonly AuditEvent[],
  ): Promise<ChainEnd | undefined> {
    // Setting a column to itself takes the row's lock, on either database.
    const row = await transaction
      .updateTable('audit_chains')
      .set((set) => ({ head_seq: set.ref('head_seq') }))
      .where('id', '=', identity.id)
      .returningAll()
      .executeTakeFirst();
    if (!row || row.head_seq < seen || !headHolds(this.keys, row)) return undefined;
    const end = { seq: row.head_seq, hash: row.head_hash };
    const { rows, mark } = tied(this.prepare({ identity, end }, events));
    await insert(transaction, rows);
    await transaction.updateTable('audit_chains').set(mark.set).where('id', '=', identity.id).execute();
    return end;
  }

  /** Where the chain ends in the database. */
  async endOf(id: string): Promise<ChainEnd | undefined> {
    const row = await this.#store.db
      .selectFrom('audit_chains')
      .select(['head_seq', 'head_hash'])
      .where('id', '=', id)
      .executeTakeFirst();
    return row && { seq: row.head_seq, hash: row.head_hash };
  }

  #manifestDamage(manifest: AuditManifestTable | undefined, latest: AuditChainsTable | undefined) {
    if (!manifest || manifest.last_ordinal === 0) {
      return latest ? `the manifest was missing, though there was a chain ${latest.ordinal}` : undefined;
    }
    const { first_ordinal: first, last_ordinal: last, seal } = manifest;
    if (!sameSeal(seal, this.keys.manifestSeal({ first, last }))) return 'the manifest was changed';
    if (latest?.ordinal !== last) return `chain ${last} was missing`;
    return undefined;
  }
}

export const chainRows = (db: Kysely<Schema>) => db.selectFrom('audit_chains').selectAll();

export function identityOf({ id, ordinal, kind, opened_at }: AuditChainsTable): ChainIdentity {
  return { id, ordinal, kind, openedAt: opened_at };
}

export function headHolds(keys: ChainKeys, row: AuditChainsTable): boolean {
  const end = { seq: row.head_seq, hash: row.head_hash };
  return sameSeal(row.head_seal, keys.endSeal('head', identityOf(row), end));
}

export function baseHolds(keys: ChainKeys, row: AuditChainsTable): boolean {
  const end = { seq: row.base_seq, hash: row.base_hash };
  return sameSeal(row.base_seal, keys.endSeal('base', identityOf(row), end));
}

/** Whoever changes which chains there are does it alone. */
export async function lockManifest(transaction: Transaction<Schema>): Promise<void> {
  await transaction
    .insertInto('audit_manifest')
    .values({ id: 1, first_ordinal: 0, last_ordinal: 0, seal: '' })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .execute();
  await transaction
    .updateTable('audit_manifest')
    .set((set) => ({ last_ordinal: set.ref('last_ordinal') }))
    .where('id', '=', 1)
    .execute();
}

export async function writeManifest(
  transaction: Transaction<Schema>,
  keys: ChainKeys,
  { first, last }: { first: number; last: number },
): Promise<void> {
  await transaction
    .updateTable('audit_manifest')
    .set({ first_ordinal: first, last_ordinal: last, seal: keys.manifestSeal({ first, last }) })
    .where('id', '=', 1)
    .execute();
}

async function lowest(transaction: Transaction<Schema>, fallback: number): Promise<number> {
  const row = await transaction
    .selectFrom('audit_chains')
    .select((select) => select.fn.min('ordinal').as('lowest'))
    .executeTakeFirst();
  return Number(row?.lowest ?? fallback);
}

async function insert(transaction: Transaction<Schema>, rows: readonly Cell[][]): Promise<void> {
  await transaction
    .insertInto('audit_events')
    .values(rows.map((row) => Object.fromEntries(COLUMNS.map(([name], at) => [name, row[at]])) as never))
    .execute();
}
