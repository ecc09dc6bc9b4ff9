import type { Kysely } from 'kysely';
import type { AuditChainsTable, AuditEventsTable, Schema } from '../store/schema.ts';
import { type ChainEnd, type ChainKeys, sameSeal } from './chain.ts';
import { baseHolds, chainRows, headHolds } from './chains.ts';
import { cellsOfRow, idOf } from './row.ts';

/** One thing that is wrong, and where. */
export type AuditFinding = {
  /** Id of the chain; left out when it is about all of them. */
  chain?: string;
  ordinal?: number;
  sequence?: number;
  /** Of the row. */
  id?: string;
  problem: string;
};

export type VerifyReport = {
  ok: boolean;
  chains: number;
  rows: number;
  /** The first of them; `more` counts the rest. */
  findings: AuditFinding[];
  more: number;
};

const PAGE = 200;
const MAX_FINDINGS = 100;

type Walk = { row: number; end: ChainEnd };

/** Reads every row once, a page at a time, and says what does not hold. Rows that come meanwhile are for the next time. */
export class AuditVerifier {
  readonly #db: Kysely<Schema>;
  readonly #keys: ChainKeys;
  #report: VerifyReport = { ok: true, chains: 0, rows: 0, findings: [], more: 0 };

  constructor(db: Kysely<Schema>, keys: ChainKeys) {
    this.#db = db;
    this.#keys = keys;
  }

  async run(): Promise<VerifyReport> {
    this.#report = { ok: true, chains: 0, rows: 0, findings: [], more: 0 };
    const ordinals = await this.#manifest();
    let expected = ordinals?.first;
    for (let after = -1; ; ) {
      const row = await chainRows(this.#db)
        .where('ordinal', '>', after)
        .orderBy('ordinal')
        .limit(1)
        .executeTakeFirst();
      if (!row) break;
      after = row.ordinal;
      if (ordinals && expected !== undefined) {
        this.#missingChains(expected, row.ordinal);
        expected = row.ordinal + 1;
        // A chain that was opened since the manifest was read is for the next time.
        if (row.ordinal > ordinals.last) {
          if (row.ordinal > (await this.#lastOrdinal()))
            this.#find({ chain: row.id, ordinal: row.ordinal, problem: 'this chain is not in the manifest' });
          continue;
        }
      }
      await this.#chain(row);
    }
    if (ordinals && expected !== undefined) this.#missingChains(expected, ordinals.last + 1);
    await this.#strangers();
    return this.#report;
  }

  #find(finding: AuditFinding): void {
    this.#report.ok = false;
    if (this.#report.findings.length < MAX_FINDINGS) this.#report.findings.push(finding);
    else this.#report.more += 1;
  }

  async #manifest(): Promise<{ first: number; last: number } | undefined> {
    const row = await this.#db.selectFrom('audit_manifest').selectAll().executeTakeFirst();
    if (!row || row.last_ordinal === 0) {
      this.#find({ problem: 'the manifest is missing: whether a whole chain was removed cannot be told' });
      return undefined;
    }
    const manifest = { first: row.first_ordinal, last: row.last_ordinal };
    if (sameSeal(row.seal, this.#keys.manifestSeal(manifest))) return manifest;
    this.#find({ problem: 'the manifest was changed: whether a whole chain was removed cannot be told' });
    return undefined;
  }

  async #lastOrdinal(): Promise<number> {
    const row = await this.#db.selectFrom('audit_manifest').select('last_ordinal').executeTakeFirst();
    return row?.last_ordinal ?? 0;
  }

  #missingChains(from: number, to: number): void {
    if (from >= to) return;
    const which = to - from === 1 ? `chain ${from} was` : `chains ${from} to ${to - 1} were`;
    this.#find({ ordinal: from, problem: `${which} removed with all rows` });
  }

  async #chain(row: AuditChainsTable): Promise<void> {
    const { id: chain, ordinal } = row;
    const about = { chain, ordinal };
    this.#report.chains += 1;
    if (!baseHolds(this.#keys, row)) {
      this.#find({
        ...about,
        sequence: row.base_seq,
        problem: 'the checkpoint that the chain begins at was changed',
      });
    }
    const headIsSound = headHolds(this.#keys, row);
    if (!headIsSound) {
      this.#find({ ...about, sequence: row.head_seq, problem: 'the sealed head of the chain was changed' });
    }
    const { row: last, end } = await this.#walk(row);
    if (last < row.head_seq) {
      const cut =
        row.head_seq - last === 1 ? `row ${row.head_seq} was` : `rows ${last + 1} to ${row.head_seq} were`;
      const sequence = last + 1;
      this.#find({ ...about, sequence, id: idOf(chain, sequence), problem: `${cut} cut off the end` });
    } else if (headIsSound && end.hash !== row.head_hash) {
      const id = idOf(chain, row.head_seq);
      this.#find({
        ...about,
        sequence: row.head_seq,
        id,
        problem: 'the last row is not the one that the head names',
      });
    }
    await this.#beyond(row);
  }

  /** The rows from the checkpoint to the head, each against the one before it. */
  async #walk({ id: chain, ordinal, base_seq, base_hash, head_seq }: AuditChainsTable): Promise<Walk> {
    const walk: Walk = { row: base_seq, end: { seq: base_seq, hash: base_hash } };
    for (;;) {
      const rows = await this.#db
        .selectFrom('audit_events')
        .selectAll()
        .where('chain', '=', chain)
        .where('seq', '>', walk.row)
        .where('seq', '<=', head_seq)
        .orderBy('seq')
        .limit(PAGE)
        .execute();
      for (const row of rows) {
        await this.#row(row, ordinal, walk);
        walk.row = row.seq;
        walk.end = { seq: row.seq, hash: row.hash };
      }
      this.#report.rows += rows.length;
      if (rows.length < PAGE) return walk;
    }
  }

  async #row(row: AuditEventsTable, ordinal: number, walk: Walk): Promise<void> {
    const { chain, seq } = row;
    const about = { chain, ordinal, sequence: seq, id: idOf(chain, seq) };
    const expected = walk.row + 1;
    if (seq > expected) {
      const gone = seq - expected === 1 ? `row ${expected} was` : `rows ${expected} to ${seq - 1} were`;
      this.#find({ ...about, sequence: expected, id: idOf(chain, expected), problem: `${gone} removed` });
      // What stood before this row is gone, so nothing can be said of the row itself.
      return;
    }
    if (!sameSeal(row.hash, this.#keys.rowHash(walk.end.hash, cellsOfRow(row)))) {
      this.#find({ ...about, problem: 'this row was changed, or stands in the place of another' });
      return;
    }
    if (row.event === 'audit.opened') await this.#witness(row, about);
    if (row.event === 'audit.damaged') {
      this.#find({ ...about, problem: `when this chain was opened, ${detailOf(row).found}` });
    }
  }

  /** A chain names the heads of those before it: none of them can end earlier than that. */
  async #witness(row: AuditEventsTable, about: Omit<AuditFinding, 'problem'>): Promise<void> {
    const { heads } = detailOf(row);
    if (!Array.isArray(heads) || heads.length === 0) return;
    const named = heads as [chain: string, seq: number, hash: string][];
    // Before the chains: rows that retention takes meanwhile are then behind a checkpoint.
    const rows = await this.#db
      .selectFrom('audit_events')
      .select(['chain', 'hash'])
      .where(({ and, or }) => or(named.map(([chain, seq]) => and({ chain, seq }))))
      .execute();
    const chains = await chainRows(this.#db)
      .where(
        'id',
        'in',
        named.map(([chain]) => chain),
      )
      .execute();
    for (const [chain, seq, hash] of named) {
      const known = chains.find(({ id }) => id === chain);
      // Gone as a whole is the manifest's to tell; behind the checkpoint there is nothing to compare.
      if (!known || seq <= known.base_seq) continue;
      const there = rows.find((given) => given.chain === chain);
      if (there?.hash === hash && known.head_seq >= seq) continue;
      const problem = `row ${seq} is not what it was when chain ${about.ordinal} was opened`;
      this.#find({ chain, ordinal: known.ordinal, sequence: seq, id: idOf(chain, seq), problem });
    }
  }

  /** Head and last row in one statement, so that a commit between two cannot look like damage. */
  async #beyond({ id: chain, ordinal }: AuditChainsTable): Promise<void> {
    const found = await this.#db
      .selectFrom('audit_chains')
      .select((select) => [
        'head_seq',
        select
          .selectFrom('audit_events')
          .select((of) => of.fn.max('seq').as('last'))
          .whereRef('audit_events.chain', '=', 'audit_chains.id')
          .as('last'),
      ])
      .where('id', '=', chain)
      .executeTakeFirst();
    if (!found || Number(found.last ?? 0) <= found.head_seq) return;
    const sequence = found.head_seq + 1;
    const problem = `rows ${sequence} to ${found.last} stand behind the sealed head`;
    this.#find({ chain, ordinal, sequence, id: idOf(chain, sequence), problem });
  }

  /** Rows of chains that nobody opened. */
  async #strangers(): Promise<void> {
    for (let after = ''; ; ) {
      const next = await this.#db
        .selectFrom('audit_events')
        .select(['chain', 'seq'])
        .where('chain', '>', after)
        .orderBy('chain')
        .orderBy('seq')
        .limit(1)
        .executeTakeFirst();
      if (!next) return;
      after = next.chain;
      const known = await chainRows(this.#db).where('id', '=', next.chain).executeTakeFirst();
      if (known) continue;
      const id = idOf(next.chain, next.seq);
      this.#find({
        chain: next.chain,
        sequence: next.seq,
        id,
        problem: 'rows of a chain that nobody opened',
      });
    }
  }
}

function detailOf(row: AuditEventsTable): { heads?: unknown; found?: unknown } {
  return JSON.parse(row.detail ?? '{}') as { heads?: unknown; found?: unknown };
}
