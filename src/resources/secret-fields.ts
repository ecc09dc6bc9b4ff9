import { z } from 'zod';
import { Refusal } from '../base/errors.ts';
import { keysOnly, type Problem, problemsOf, textThat } from './problems.ts';

/** Values of one secret, and the bytes of each, as UTF-8. */
const MAX_KEYS = 64;
export const MAX_SECRET_BYTES = 64 * 1024;

/** Without dots, so that `${secret:NAME.KEY}` has one meaning although names may have some. */
const KEY = /^[A-Za-z0-9_-]{1,64}$/;

/** Why a secret can have no such key; undefined when it can. */
export function secretKeyFault(key: string): string | undefined {
  return KEY.test(key) ? undefined : 'is no valid key: use 1 to 64 of A-Z, a-z, 0-9, "_" and "-"';
}

/** Why a secret can have no such value; never repeats it. */
export function secretValueFault(value: string): string | undefined {
  if (value === '') return 'is empty: give a value';
  if (value.includes('\0')) return 'contains a NUL character: encode it, as base64 for example';
  const bytes = Buffer.byteLength(value);
  return bytes > MAX_SECRET_BYTES ? `has ${bytes} bytes: the limit is 64 KiB` : undefined;
}

export const SECRET = keysOnly({
  keys: z.array(textThat(secretKeyFault)).min(1).max(MAX_KEYS).optional(),
  data: z.record(textThat(secretKeyFault), textThat(secretValueFault)).optional(),
});

export type SecretFields = { keys?: string[]; data?: Record<string, string> };

/** What is wrong with the spec of a Secret taken alone. */
export function secretProblems(spec: unknown): Problem[] {
  const problems = problemsOf(SECRET, spec, ['spec']);
  if (problems.length > 0) return problems;
  const { data } = spec as SecretFields;
  if (data === undefined) return [];
  const count = Object.keys(data).length;
  const path = ['spec', 'data'];
  if (count === 0) return [{ path, message: 'is empty: give at least one value, or leave it out' }];
  if (count <= MAX_KEYS) return [];
  return [{ path, message: `has ${count} values: the limit is ${MAX_KEYS}; make a second secret` }];
}

/** As everybody may see it: the names of its keys, sorted. */
export type SecretSpec = { keys: string[] };

/**
 * What a secret has after a change. `data` alone is all that it has then; beside `keys`, the keys without a value keep
 * theirs; without `data` nothing changes but which keys stay.
 * @throws Refusal `invalid` when a key would be without a value
 */
export function changedSecret(
  { keys, data }: SecretFields,
  existing: Record<string, unknown> | undefined,
): SecretSpec {
  const had = secretKeys(existing);
  const given = Object.keys(data ?? {});
  const kept = keys ?? (data === undefined ? had : []);
  const all = [...new Set([...kept, ...given])].sort();
  if (all.length === 0) throw new Refusal('invalid', 'spec.data: is missing: give at least one value');
  if (all.length > MAX_KEYS) throw new Refusal('invalid', `spec.keys: a secret has at most ${MAX_KEYS} keys`);
  const absent = kept.findIndex((key) => !given.includes(key) && !had.includes(key));
  if (absent >= 0) {
    const message = 'has no value yet: give it in spec.data';
    throw new Refusal('invalid', `spec.keys[${absent}]: ${kept[absent]} ${message}`);
  }
  return { keys: all };
}

/** The keys that a stored secret names; none when the row cannot be read. */
export function secretKeys(spec: Record<string, unknown> | undefined): string[] {
  const keys = spec?.keys;
  return Array.isArray(keys) ? keys.filter((key) => typeof key === 'string') : [];
}
