import { Refusal } from '../base/errors.ts';
import { isMapping } from '../base/mapping.ts';
import { labelKeyFault, labelValueFault } from './labels.ts';

/** What a selector looks at; objects of every kind have it. */
export type Selectable = {
  metadata: { name: string; labels?: Readonly<Record<string, string>> | undefined };
};

type Labelled = Readonly<Record<string, string>>;
/** Every requirement must hold. */
export type LabelSelector = readonly ((labels: Labelled) => boolean)[];
export type FieldSelector = readonly { path: readonly string[]; equals: boolean; value: string }[];
export type Selector = { labels: LabelSelector; fields: FieldSelector };

const MAX_LENGTH = 4096;
const SET = /^([^\s!=,()]+)\s+(in|notin)\s*\(([^()]*)\)$/;
const EQUALITY = /^([^\s!=,()]+)\s*(==|=|!=)\s*([^\s!=,()]*)$/;
const EXISTENCE = /^(!?)\s*([^\s!=,()]+)$/;
const FIELD = /^([^\s!=,]+?)\s*(==|=|!=)\s*(.*)$/;
const ROOTS = ['metadata', 'spec', 'status'];

/**
 * Reads `a=b,c!=d,e in (x,y),f notin (z),g,!h`. As elsewhere, `!=` and `notin` also pick objects without the label.
 * @throws Refusal `invalid` quoting the part that is wrong
 */
export function parseLabelSelector(text: string, field: string): LabelSelector {
  return partsOf(text, field).map((part) => {
    const set = SET.exec(part);
    if (set) {
      const key = checkedKey(set[1]!, field);
      const values = set[3]!.split(',').map((value) => checkedValue(value.trim(), field));
      const wanted = set[2] === 'in';
      return (labels) => values.includes(labels[key] as string) === wanted;
    }
    const equality = EQUALITY.exec(part);
    if (equality) {
      const key = checkedKey(equality[1]!, field);
      const value = checkedValue(equality[3]!, field);
      const wanted = equality[2] !== '!=';
      return (labels) => (labels[key] === value) === wanted;
    }
    const existence = EXISTENCE.exec(part);
    if (existence) {
      const key = checkedKey(existence[2]!, field);
      const wanted = existence[1] === '';
      return (labels) => Object.hasOwn(labels, key) === wanted;
    }
    throw new Refusal(
      'invalid',
      `${field}: "${quoted(part)}" is no requirement: write team=red, team!=red, team in (red,blue), team or !team`,
    );
  });
}

/**
 * Reads `metadata.name=x,spec.url!=y`. A field that is a list equals what one of its items equals.
 * @throws Refusal `invalid` quoting the part that is wrong
 */
export function parseFieldSelector(text: string, field: string): FieldSelector {
  return partsOf(text, field).map((part) => {
    const [, path = '', operator, value = ''] = FIELD.exec(part) ?? [];
    const steps = path.split('.');
    if (operator === undefined || steps.length < 2 || steps.includes('') || !ROOTS.includes(steps[0]!)) {
      throw new Refusal(
        'invalid',
        `${field}: "${quoted(part)}" is no requirement: write metadata.name=github or spec.isolation!=shared`,
      );
    }
    return { path: steps, equals: operator !== '!=', value };
  });
}

export function isSelected(object: Selectable, { labels, fields }: Selector): boolean {
  const own = object.metadata.labels ?? {};
  return (
    labels.every((requirement) => requirement(own)) &&
    fields.every(({ path, equals, value }) => holds(valueAt(object, path), value) === equals)
  );
}

/** The parts between commas, those inside parentheses excepted. */
function partsOf(text: string, field: string): string[] {
  if (text.length > MAX_LENGTH) {
    throw new Refusal('invalid', `${field}: is longer than ${MAX_LENGTH} characters: shorten it`);
  }
  if (text.trim() === '') return [];
  const parts: string[] = [];
  let depth = 0;
  let start = 0;
  for (let index = 0; index <= text.length; index++) {
    const char = text[index];
    if (char === '(') depth += 1;
    if (char === ')') depth -= 1;
    if (index < text.length && (char !== ',' || depth > 0)) continue;
    parts.push(text.slice(start, index).trim());
    start = index + 1;
  }
  return parts;
}

function checkedKey(key: string, field: string): string {
  const fault = labelKeyFault(key);
  if (fault) throw new Refusal('invalid', `${field}: ${fault}`);
  return key;
}

function checkedValue(value: string, field: string): string {
  const fault = labelValueFault(value);
  if (fault) throw new Refusal('invalid', `${field}: "${quoted(value)}" ${fault}`);
  return value;
}

function valueAt(value: unknown, path: readonly string[]): unknown {
  let inner = value;
  for (const step of path) inner = isMapping(inner) && Object.hasOwn(inner, step) ? inner[step] : undefined;
  return inner;
}

/** A field that is not there equals the empty text. */
function holds(found: unknown, value: string): boolean {
  if (Array.isArray(found)) return found.some((item) => holds(item, value));
  if (isMapping(found)) return false;
  return String(found ?? '') === value;
}

function quoted(part: string): string {
  return part.length > 80 ? `${part.slice(0, 77)}...` : part;
}
