import { createHmac, createSecretKey, type KeyObject } from 'node:crypto';

/** What a key's bytes are made into once: from bytes, every hash would import them again, at the cost of the hash. */
export type HashKey = KeyObject;

export const hashKey = (bytes: Uint8Array): HashKey => createSecretKey(bytes);

/** HMAC-SHA-256 in base64url. */
export function keyedHash(key: HashKey, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url');
}

/** The same over an array, which has one spelling in JSON as long as its order is fixed. */
export function keyedHashOf(key: HashKey, parts: readonly (string | number | null)[]): string {
  return keyedHash(key, JSON.stringify(parts));
}
