/**
 * How rows are tied together. Everything here is keyed: whoever holds the database and not the master key can neither
 * make a row nor move an end.
 *
 *   row       hash = HMAC(row key, [hash of the row before, its cells]); the cells begin with chain and sequence
 *   head      the last row of a chain, sealed: a tail that was cut off shows
 *   base      the last row that retention took away, sealed: the signed checkpoint that the rest begins at
 *   manifest  which ordinals there are, sealed: a chain that was removed as a whole shows
 */
import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';
import { canonicalJson } from '../base/canonical-json.ts';
import { deriveKey, type MasterKey } from '../base/seal.ts';
import type { Cell } from '../store/append.ts';

export type ChainKind = 'calls' | 'changes';
/** What a chain is, apart from its rows. */
export type ChainIdentity = { id: string; ordinal: number; kind: string; openedAt: number };
/** A row as a place in its chain; sequence 0 is before the first. */
export type ChainEnd = { seq: number; hash: string };
export type Manifest = { first: number; last: number };

const ROW = 'castellan audit row 1';

export class ChainKeys {
  readonly #rows: KeyObject;
  readonly #seals: KeyObject;
  readonly #arguments: KeyObject;

  constructor(master: MasterKey) {
    const key = (purpose: string) => createSecretKey(deriveKey(master, `audit/${purpose}`));
    this.#rows = key('rows');
    this.#seals = key('seals');
    this.#arguments = key('arguments');
  }

  /** An array has one spelling in JSON as long as its order is fixed. */
  rowHash(before: string, cells: readonly Cell[]): string {
    return mac(this.#rows, JSON.stringify([ROW, before, ...cells]));
  }

  /** What stands before the first row. */
  genesis({ id, ordinal, kind, openedAt }: ChainIdentity): string {
    return this.#seal('genesis', [id, ordinal, kind, openedAt]);
  }

  endSeal(which: 'head' | 'base', { id, ordinal, kind, openedAt }: ChainIdentity, end: ChainEnd): string {
    return this.#seal(which, [id, ordinal, kind, openedAt, end.seq, end.hash]);
  }

  manifestSeal({ first, last }: Manifest): string {
    return this.#seal('manifest', [first, last]);
  }

  /** Keyed, so that short arguments cannot be guessed from the log; equal arguments still have equal digests. */
  argumentsDigest(given: unknown): string {
    return mac(this.#arguments, canonicalJson(given ?? {}));
  }

  #seal(what: string, parts: readonly Cell[]): string {
    return mac(this.#seals, JSON.stringify([`castellan audit ${what} 1`, ...parts]));
  }
}

/** Constant time, whatever somebody put in the place of a seal. */
export function sameSeal(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}

/** The rows that follow `end`, hashes included, and the end after them. */
export function linked(
  keys: ChainKeys,
  end: ChainEnd,
  count: number,
  cells: (seq: number, at: number) => Cell[],
): { rows: Cell[][]; end: ChainEnd } {
  let { seq, hash } = end;
  const rows: Cell[][] = [];
  for (let at = 0; at < count; at += 1) {
    seq += 1;
    const row = cells(seq, at);
    hash = keys.rowHash(hash, row);
    row.push(hash);
    rows.push(row);
  }
  return { rows, end: { seq, hash } };
}

function mac(key: KeyObject, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url');
}
