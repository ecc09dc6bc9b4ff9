import { hash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

/** A prefixed id, such as `mct_…`: 128 random bits after the prefix that says what it names. */
export type Id<Prefix extends string> = `${Prefix}_${string}`;

/**
 * What a credential of ours opens: `pat` an agent's token, `adm` the local administrator, `ses` a browser's session,
 * `inv` the page that sets a password; `cs` is a client's secret, `at` and `rt` are its access and refresh tokens.
 */
export type CredentialKind = 'pat' | 'adm' | 'ses' | 'inv' | 'cs' | 'at' | 'rt';

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const SECRET_BYTES = 32;
const SECRET_LENGTH = 43;
const CHECKSUM_LENGTH = 6;
const CREDENTIAL = /^cst_(pat|adm|ses|inv|cs|at|rt)_([0-9A-Za-z]{43})([0-9A-Za-z]{6})$/;
const MAX_CREDENTIAL_LENGTH = 'cst_pat_'.length + SECRET_LENGTH + CHECKSUM_LENGTH;
const DISPLAYED_LENGTH = 'cst_pat_'.length + 8;

/** The bytes as one big-endian number in base 62 (`0-9A-Za-z`), padded with `0` on the left to `length`. */
export function base62(bytes: Uint8Array, length: number): string {
  let rest = BigInt(`0x${Buffer.from(bytes).toString('hex') || '0'}`);
  let text = '';
  while (rest > 0n) {
    text = ALPHABET.charAt(Number(rest % 62n)) + text;
    rest /= 62n;
  }
  return text.padStart(length, '0');
}

export function newId<Prefix extends string>(prefix: Prefix): Id<Prefix> {
  return `${prefix}_${base62(randomBytes(16), 22)}`;
}

export function sha256Hex(text: string): string {
  return hash('sha256', text, 'hex');
}

/**
 * A new credential: `cst_<kind>_`, 32 bytes as 43 base-62 characters, and the CRC-32 of those 43 as 6.
 * @param bytes random ones unless given; whoever gives them makes sure that nobody can guess them
 */
export function mintCredential(kind: CredentialKind, bytes: Uint8Array = randomBytes(SECRET_BYTES)): string {
  const secret = base62(bytes, SECRET_LENGTH);
  return `cst_${kind}_${secret}${checksum(secret)}`;
}

/** The kind of a well-formed credential; undefined for anything else, so that a typo costs no look-up. */
export function credentialKind(raw: string): CredentialKind | undefined {
  if (raw.length > MAX_CREDENTIAL_LENGTH) return undefined;
  const [, kind, secret, sum] = CREDENTIAL.exec(raw) ?? [];
  if (secret === undefined || checksum(secret) !== sum) return undefined;
  return kind as CredentialKind;
}

/** The part of a credential that may be shown: its prefix and the 8 characters after it. */
export function displayedPart(raw: string): string {
  return raw.slice(0, DISPLAYED_LENGTH);
}

function checksum(secret: string): string {
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(secret));
  return base62(sum, CHECKSUM_LENGTH);
}
