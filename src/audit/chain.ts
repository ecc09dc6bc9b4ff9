/**
 * How rows are tied together. Everything here is keyed: whoever holds the database and not the master key can neither
 * make a row nor move an end.
 *
 *   row       hash = HMAC(row key, [hash of the row before, its cells]); the cells begin with chain and sequence
 *   head      the last row of a chain, sealed: a tail that was cut off shows
 *   base      the last row that retention took away, sealed: the signed checkpoint that the rest begins at
 *   manifest  which ordinals there are, sealed: a chain that was removed as a whole shows
 */
import { timingSafeEqual } from 'node:crypto';
import { type HashKey, hashKey, keyedHashOf } from '../base/keyed-hash.ts';
import { deriveKey, type MasterKey } from '../base/seal.ts';
import { type Cell, digestOfJson, JSON_TEXT, rowHash, type Tie } from '../store/append.ts';
import { DIGEST_AT } from './row.ts';

export type ChainKind = 'calls' | 'changes';
/** What a chain is, apart from its rows. */
export type ChainIdentity = { id: string; ordinal: number; kind: string; openedAt: number };
/** A row as a place in its chain; sequence 0 is before the first. */
export type ChainEnd = { seq: number; hash: string };
export type Manifest = { first: number; last: number };

const ROW = 'castellan audit row 1';
/** Longer arguments are hashed at once: what waits to be written is bounded by number, not by size. */
const MAX_HASHED_LATER = 4_096;

export class ChainKeys {
  readonly #bytes: { rows: Uint8Array; seals: Uint8Array; arguments: Uint8Array };
  readonly #rows: HashKey;
  readonly #seals: HashKey;
  readonly #arguments: HashKey;

  constructor(master: MasterKey) {
    const bytes = (purpose: string) => new Uint8Array(deriveKey(master, `audit/${purpose}`));
    this.#bytes = { rows: bytes('rows'), seals: bytes('seals'), arguments: bytes('arguments') };
    this.#rows = hashKey(this.#bytes.rows);
    this.#seals = hashKey(this.#bytes.seals);
    this.#arguments = hashKey(this.#bytes.arguments);
  }

  rowHash(before: string, cells: readonly Cell[]): string {
    return rowHash(this.#rows, ROW, before, cells);
  }

  /** How rows up to the sequence number `last` hang on the chain's end. */
  tie({ id, ordinal, kind, openedAt }: ChainIdentity, end: ChainEnd, last: number): Tie {
    return {
      key: this.#bytes.rows,
      label: ROW,
      before: end.hash,
      digest: { at: DIGEST_AT, key: this.#bytes.arguments },
      hashInto: 'head_hash',
      seal: {
        into: 'head_seal',
        key: this.#bytes.seals,
        parts: ['castellan audit head 1', id, ordinal, kind, openedAt, last],
      },
    };
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

  /**
   * What an event carries of the arguments of a call: their digest, or the text that it is made of when they are
   * written. Keyed, so that short arguments cannot be guessed from the log; equal arguments have equal digests.
   */
  argumentsDigest(given: unknown): string {
    const text = JSON.stringify(given ?? {});
    return text.length > MAX_HASHED_LATER ? digestOfJson(this.#arguments, text) : `${JSON_TEXT}${text}`;
  }

  #seal(what: 'genesis' | 'head' | 'base' | 'manifest', parts: readonly Cell[]): string {
    return keyedHashOf(this.#seals, [`castellan audit ${what} 1`, ...parts]);
  }
}

/** Constant time, whatever somebody put in the place of a seal. */
export function sameSeal(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
