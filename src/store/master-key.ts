import { randomBytes } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { Refusal } from '../base/errors.ts';
import type { MasterKey } from '../base/seal.ts';

const KEY_BYTES = 32;
const MAX_TEXT = 1024;
const HOW_TO_MAKE_ONE = 'make one with: openssl rand -base64 32';
const PLACEHOLDER =
  /change.?me|replace.?me|place.?holder|example|default|passw[o0]rd|passphrase|secret|master.?key|insert.?here|insecure|\bdummy\b/i;

export const MASTER_KEY_FILE = 'master.key';

/** A new key as it stands in `master.key`. */
export function newMasterKeyText(): string {
  return randomBytes(KEY_BYTES).toString('base64url');
}

/**
 * The key that the environment gives: `CASTELLAN_MASTER_KEY`, or the content of the file that
 * `CASTELLAN_MASTER_KEY_FILE` names. Undefined when neither is set. No message repeats the key.
 * @throws Refusal `invalid` for a short or placeholder key, an unreadable file, or both variables at once
 */
export async function masterKeyFromEnvironment(env: NodeJS.ProcessEnv): Promise<MasterKey | undefined> {
  const { CASTELLAN_MASTER_KEY: text, CASTELLAN_MASTER_KEY_FILE: file } = env;
  if (text !== undefined && file !== undefined) {
    throw new Refusal(
      'invalid',
      'CASTELLAN_MASTER_KEY and CASTELLAN_MASTER_KEY_FILE are both set; keep one of them',
    );
  }
  if (text !== undefined) return parseMasterKey(text, 'CASTELLAN_MASTER_KEY');
  if (file === undefined) return undefined;
  return parseMasterKey(await keyFileContent(file), `CASTELLAN_MASTER_KEY_FILE (${file})`);
}

/**
 * Reads 32 or more bytes written as hex, base64 or base64url; surrounding white space does not count.
 * @param origin names the place in messages
 */
export function parseMasterKey(written: string, origin: string): MasterKey {
  const text = written.trim();
  if (text === '') throw new Refusal('invalid', `${origin}: the master key is empty; ${HOW_TO_MAKE_ONE}`);
  if (text.length > MAX_TEXT)
    throw new Refusal('invalid', `${origin}: the master key is longer than ${MAX_TEXT} characters`);
  if (PLACEHOLDER.test(text) || isPattern(text)) {
    throw new Refusal('invalid', `${origin}: the master key looks like a placeholder; ${HOW_TO_MAKE_ONE}`);
  }
  const bytes = decode(text);
  if (!bytes) {
    throw new Refusal('invalid', `${origin}: the master key is neither hex nor base64; ${HOW_TO_MAKE_ONE}`);
  }
  if (bytes.length < KEY_BYTES) {
    throw new Refusal(
      'invalid',
      `${origin}: the master key has ${bytes.length} bytes, at least ${KEY_BYTES} are needed; ${HOW_TO_MAKE_ONE}`,
    );
  }
  if (new Set(bytes).size < KEY_BYTES / 2) {
    throw new Refusal('invalid', `${origin}: the master key is not random; ${HOW_TO_MAKE_ONE}`);
  }
  return { bytes };
}

async function keyFileContent(file: string): Promise<string> {
  try {
    const { size } = await stat(file);
    if (size <= MAX_TEXT * 4) return await readFile(file, 'utf8');
  } catch (error) {
    throw new Refusal('invalid', `CASTELLAN_MASTER_KEY_FILE cannot be read: ${(error as Error).message}`);
  }
  throw new Refusal('invalid', `CASTELLAN_MASTER_KEY_FILE (${file}) is too long to be a key`);
}

function decode(text: string): Buffer | undefined {
  if (/^[0-9a-fA-F]+$/.test(text) && text.length % 2 === 0) return Buffer.from(text, 'hex');
  if (/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return Buffer.from(text, 'base64');
  if (/^[A-Za-z0-9_-]+={0,2}$/.test(text)) return Buffer.from(text, 'base64url');
  return undefined;
}

/** A short text repeated, or a run through the alphabet: long enough, and guessed at once. */
function isPattern(text: string): boolean {
  for (let period = 1; period <= 16 && period * 2 <= text.length; period += 1) {
    if (text.slice(period) === text.slice(0, -period)) return true;
  }
  let steps = 0;
  for (let index = 1; index < text.length; index += 1) {
    if (Math.abs(text.charCodeAt(index) - text.charCodeAt(index - 1)) === 1) steps += 1;
  }
  return steps * 2 > text.length;
}
