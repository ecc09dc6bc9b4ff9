import { z } from 'zod';
import { nearest } from './names.ts';

export type FieldPath = readonly (string | number)[];

/** Something wrong with one field of an object. The message says what is wrong and how to fix it. */
export type Problem = { path: FieldPath; message: string };

/** A problem with its place: in a file, or in the body of a request (no file, no line). */
export type LocatedProblem = { file?: string; line?: number; field: string; message: string };

/** `file:line: field: what is wrong: how to fix`, without the parts that are not known. */
export function describeProblem(problem: LocatedProblem): string {
  const place = problem.file === undefined ? '' : `${problem.file}:${problem.line ?? 1}: `;
  const field = problem.field === '' ? '' : `${problem.field}: `;
  return `${place}${field}${problem.message}`;
}

const MAX_DESCRIBED = 20;

/** One line per problem, the first twenty. */
export function describeProblems(problems: readonly LocatedProblem[]): string {
  const lines = problems.slice(0, MAX_DESCRIBED).map(describeProblem);
  if (problems.length > MAX_DESCRIBED) lines.push(`and ${problems.length - MAX_DESCRIBED} more`);
  return lines.join('\n');
}

/** `spec.servers[2]`, `spec.env["my key"]`. */
export function fieldName(path: FieldPath): string {
  let name = '';
  for (const step of path) {
    if (typeof step === 'number') name += `[${step}]`;
    else if (!/^[\w-]{1,60}$/.test(step)) name += `[${JSON.stringify(step.slice(0, 60))}]`;
    else name += name === '' ? step : `.${step}`;
  }
  return name;
}

/** An object that takes these keys and no others; an unknown one is answered with the nearest of them. */
export function keysOnly<Shape extends z.ZodRawShape>(shape: Shape): z.ZodObject<Shape, z.core.$strict> {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys' ? unknownKey(issue.keys?.[0] ?? '', Object.keys(shape)) : undefined,
  });
}

export function unknownKey(key: string, valid: readonly string[]): string {
  const meant = nearest(key, valid);
  return `unknown key: ${meant ? `did you mean ${meant}?` : `use one of ${valid.join(', ')}`}`;
}

/** Why a value is refused; it never repeats the value itself. */
export type Fault = (value: string) => string | undefined;

/** A text field with a rule. */
export function textThat(fault: Fault): z.ZodString {
  return z.string().superRefine((value, context) => {
    const message = fault(value);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  });
}

export function emptyFault(value: string): string | undefined {
  return value.trim() === '' ? 'is empty: give a value' : undefined;
}

/** What a schema holds against a value, as problems below `base`. Values are never quoted: they may be secrets. */
export function problemsOf(schema: z.ZodType, value: unknown, base: FieldPath): Problem[] {
  const outcome = schema.safeParse(value, { error: wording });
  if (outcome.success) return [];
  return outcome.error.issues.map((issue) => {
    const path = [...base, ...issue.path.map((step) => (typeof step === 'number' ? step : String(step)))];
    if (issue.code === 'unrecognized_keys') path.push(issue.keys[0] ?? '');
    if (issue.code === 'invalid_key') {
      return { path, message: issue.issues[0]?.message ?? 'is not a valid key: rename it' };
    }
    return { path, message: issue.message };
  });
}

const TYPE_WORDS: Record<string, string> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  object: 'a mapping',
  record: 'a mapping',
  array: 'a list',
};

function wording(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type': {
      if (issue.input === undefined) return 'is missing: add it';
      const found = typeWord(issue.input);
      const wanted = TYPE_WORDS[String(issue.expected)] ?? String(issue.expected);
      const scalar = typeof issue.input === 'number' || typeof issue.input === 'boolean';
      const fix = wanted === 'text' && scalar ? 'put it in quotes' : `write ${wanted}`;
      return `must be ${wanted}, not ${found}: ${fix}`;
    }
    case 'invalid_value':
      return `must be one of ${issue.values?.map(String).join(', ')}: use one of these`;
    case 'too_big':
      return `is too large: the limit is ${issue.maximum}`;
    case 'too_small':
      return `is too small: the least is ${issue.minimum}`;
    default:
      return undefined;
  }
}

function typeWord(value: unknown): string {
  if (value === null) return 'empty';
  if (Array.isArray(value)) return 'a list';
  return TYPE_WORDS[typeof value] ?? typeof value;
}
