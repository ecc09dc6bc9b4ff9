import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto';
import { ok, type Result, refused } from './result.ts';

/** 32 or more bytes of key material; every key in use is derived from it for one purpose. */
export type MasterKey = { readonly bytes: Buffer };

/** malformed: no sealed text of ours · unknown_key: sealed under a key we do not hold · forged: altered, or sealed for another purpose or context */
export type SealError = 'malformed' | 'unknown_key' | 'forged';

const VERSION = 1;
const KEY_ID_BYTES = 4;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = 1 + KEY_ID_BYTES;
const OVERHEAD_BYTES = HEADER_BYTES + NONCE_BYTES + TAG_BYTES;
const BASE64URL = /^[A-Za-z0-9_-]+$/;

/** A key for one purpose (HKDF-SHA-256 of the master key); two purposes never share one. */
export function deriveKey(master: MasterKey, purpose: string): Buffer {
  return Buffer.from(hkdfSync('sha256', master.bytes, 'castellan', purpose, 32));
}

/** What proves that a key is the one used before, without saying anything about it. */
export function keyCheckValue(master: MasterKey): string {
  return deriveKey(master, 'check').toString('hex');
}

type Ring = { id: Buffer; master: MasterKey; derived: Map<string, KeyObject> };

/**
 * Seals small texts with AES-256-GCM. A sealed text is the base64url of
 * `version(1) key id(4) nonce(12) ciphertext tag(16)`. One key seals; all open, so that keys can rotate.
 * `purpose` is a constant of the calling code, never input: each one keeps a derived key in memory.
 */
export class Sealer {
  #rings: readonly Ring[];
  #current: Ring;

  constructor(current: MasterKey) {
    this.#current = ring(current);
    this.#rings = [this.#current];
  }

  /** Of the key that seals: 8 hexadecimal digits. */
  get keyId(): string {
    return this.#current.id.toString('hex');
  }

  /** Seals with `current` from now on, and opens what was sealed with it or with one of the others. */
  use(current: MasterKey, others: readonly MasterKey[]): void {
    const known = (master: MasterKey) =>
      this.#rings.find((one) => one.master.bytes.equals(master.bytes)) ?? ring(master);
    this.#rings = [current, ...others].map(known);
    this.#current = this.#rings[0]!;
  }

  /** `context` must be presented again to open: it ties the text to the row or principal that it belongs to. */
  seal(purpose: string, plaintext: string, context = ''): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', keyFor(this.#current, purpose), nonce);
    const header = Buffer.concat([Buffer.of(VERSION), this.#current.id]);
    cipher.setAAD(Buffer.concat([header, Buffer.from(context)]));
    const body = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final()]);
    return Buffer.concat([header, nonce, body, cipher.getAuthTag()]).toString('base64url');
  }

  open(purpose: string, sealed: string, context = ''): Result<string, SealError> {
    if (!BASE64URL.test(sealed)) return refused('malformed');
    const bytes = Buffer.from(sealed, 'base64url');
    if (bytes.length < OVERHEAD_BYTES || bytes[0] !== VERSION) return refused('malformed');
    // Base64 has several spellings of the same bytes; only the one we wrote is accepted.
    if (bytes.toString('base64url') !== sealed) return refused('malformed');
    const id = bytes.subarray(1, HEADER_BYTES);
    const found = this.#rings.find((candidate) => candidate.id.equals(id));
    if (!found) return refused('unknown_key');
    const nonce = bytes.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
    const decipher = createDecipheriv('aes-256-gcm', keyFor(found, purpose), nonce, {
      authTagLength: TAG_BYTES,
    });
    decipher.setAAD(Buffer.concat([bytes.subarray(0, HEADER_BYTES), Buffer.from(context)]));
    decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
    try {
      const body = bytes.subarray(HEADER_BYTES + NONCE_BYTES, -TAG_BYTES);
      return ok(Buffer.concat([decipher.update(body), decipher.final()]).toString('utf8'));
    } catch {
      return refused('forged');
    }
  }
}

function ring(master: MasterKey): Ring {
  return { id: deriveKey(master, 'key-id').subarray(0, KEY_ID_BYTES), master, derived: new Map() };
}

/** What `Sealer.keyId` says while this key seals. */
export function keyIdOf(master: MasterKey): string {
  return ring(master).id.toString('hex');
}

/** A KeyObject: from a Buffer, each use would import the key again, at four times the cost of opening. */
function keyFor(from: Ring, purpose: string): KeyObject {
  let key = from.derived.get(purpose);
  if (!key) {
    key = createSecretKey(deriveKey(from.master, `seal/${purpose}`));
    from.derived.set(purpose, key);
  }
  return key;
}
