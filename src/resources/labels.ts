import { printable } from './names.ts';
import type { FieldPath, Problem } from './problems.ts';

/** `metadata.labels`: short words by which objects are picked. */
export type Labels = Readonly<Record<string, string>>;

export const NO_LABELS: Labels = Object.freeze({});

const MAX_LABELS = 64;
const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$/;
const PREFIX = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/;

/** Why `key` cannot be a label's key; undefined when it can. A prefix may stand before it: `example.com/team`. */
export function labelKeyFault(key: string): string | undefined {
  const slash = key.indexOf('/');
  const name = key.slice(slash + 1);
  if (NAME.test(name) && (slash < 0 || PREFIX.test(key.slice(0, slash)))) return undefined;
  return `"${printable(key)}" is no label: use at most 63 letters, digits, "-", "_" and ".", such as team or example.com/team`;
}

/** Why `value` cannot be a label's value; undefined when it can. An empty one can. */
export function labelValueFault(value: string): string | undefined {
  if (value === '' || NAME.test(value)) return undefined;
  return 'is no value of a label: use at most 63 letters, digits, "-", "_" and "."';
}

export function labelProblems(value: unknown, path: FieldPath): Problem[] {
  if (value === undefined) return [];
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return [{ path, message: 'must be a mapping: write key: value pairs' }];
  const entries = Object.entries(value);
  if (entries.length > MAX_LABELS) {
    return [{ path, message: `holds ${entries.length} labels: use at most ${MAX_LABELS}` }];
  }
  return entries.flatMap(([key, text]) => {
    const at = [...path, key];
    const keyFault = labelKeyFault(key);
    if (keyFault) return [{ path: at, message: keyFault }];
    if (typeof text !== 'string') return [{ path: at, message: 'must be text: put it in quotes' }];
    const fault = labelValueFault(text);
    return fault ? [{ path: at, message: fault }] : [];
  });
}
