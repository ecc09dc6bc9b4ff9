import { isMapping } from '../base/mapping.ts';
import { nameFault } from './names.ts';
import type { FieldPath, Problem } from './problems.ts';
import { secretKeyFault } from './secret-fields.ts';

/** The environment as `process.env` has it. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What `${castellan:…}` stands for; `error` says what is wrong and how to fix it. */
export type BuiltinValue = { value: string } | { error: string };

export type ExpansionSources = {
  /** Undefined: variables do not expand here (an object from the API, where the client has expanded them). */
  env: Environment | undefined;
  builtin: (key: string) => BuiltinValue;
  secret: (name: string, key: string, raw: string) => BuiltinValue;
};

type Part =
  | { type: 'text'; text: string }
  | { type: 'variable'; name: string; fallback: string | undefined; raw: string }
  | { type: 'secret'; name: string; key: string; raw: string }
  | { type: 'builtin'; key: string; raw: string }
  | { type: 'bad'; raw: string; error: string };

const PLACEHOLDER = /\$\$\{|\$\{([^}]*)(\}?)/g;
const SECRET = /^secret:(.+)\.([^.]+)$/s;
const VARIABLE = /^(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s;

/**
 * The language of values: `${VAR}`, `${VAR:-default}` (also with `env:` in front), `${secret:NAME.KEY}`,
 * `${castellan:KEY}`, and `$${` for a literal `${`. Every other `$` stands for itself.
 */
function partsOf(text: string): Part[] {
  const parts: Part[] = [];
  let end = 0;
  for (const match of text.matchAll(PLACEHOLDER)) {
    if (match.index > end) parts.push({ type: 'text', text: text.slice(end, match.index) });
    end = match.index + match[0].length;
    parts.push(
      match[0] === '$${' ? { type: 'text', text: '${' } : placeholder(match[0], match[1]!, match[2] === '}'),
    );
  }
  if (end < text.length) parts.push({ type: 'text', text: text.slice(end) });
  return parts;
}

function placeholder(raw: string, inside: string, closed: boolean): Part {
  if (!closed)
    return { type: 'bad', raw, error: `"\${" is not closed: add "}", or write "$\${" for a literal "\${"` };
  if (inside.startsWith('secret:')) return secretPart(inside, raw);
  if (inside.startsWith('castellan:'))
    return { type: 'builtin', key: inside.slice('castellan:'.length), raw };
  if (inside.startsWith('input:')) {
    return {
      type: 'bad',
      raw,
      error: `nobody can be asked for an input here: use an environment variable, \${VAR}`,
    };
  }
  const variable = VARIABLE.exec(inside);
  if (!variable)
    return { type: 'bad', raw, error: `is no placeholder: write \${VAR}, or "$\${" for a literal "\${"` };
  const [, name, fallback] = variable;
  if (fallback?.includes('${')) {
    return {
      type: 'bad',
      raw,
      error: 'a default cannot hold another placeholder: write plain text after ":-"',
    };
  }
  return { type: 'variable', name: name!, fallback, raw };
}

function secretPart(inside: string, raw: string): Part {
  const [, name, key] = SECRET.exec(inside) ?? [];
  if (name === undefined || key === undefined || nameFault(name) || secretKeyFault(key))
    return { type: 'bad', raw, error: `names no secret: write \${secret:NAME.KEY}` };
  return { type: 'secret', name, key, raw };
}

/** The secrets that the texts below `value` refer to, each as often as it does. */
export function secretReferences(value: unknown): { name: string; key: string }[] {
  if (typeof value === 'string') {
    return partsOf(value).flatMap((part) =>
      part.type === 'secret' ? [{ name: part.name, key: part.key }] : [],
    );
  }
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(secretReferences);
}

type Outcome = { text: string; errors: string[] };

/** Replaces everything that this process can know. A placeholder that fails stays as written, and is an error. */
export function expandText(text: string, sources: ExpansionSources): Outcome {
  const errors: string[] = [];
  const pieces = partsOf(text).map((part) => {
    const outcome = partValue(part, sources);
    if ('value' in outcome) return outcome.value;
    errors.push(outcome.error);
    return part.type === 'text' ? part.text : part.raw;
  });
  return { text: pieces.join(''), errors };
}

function partValue(part: Part, sources: ExpansionSources): BuiltinValue {
  switch (part.type) {
    case 'text':
      return { value: part.text };
    case 'bad':
      return { error: part.error };
    case 'secret':
      return sources.secret(part.name, part.key, part.raw);
    case 'builtin':
      return sources.builtin(part.key);
    case 'variable':
      if (!sources.env) {
        return {
          error: `variable ${part.name} does not expand in the server: apply it with the CLI, or write "$\${"`,
        };
      }
      return variableValue(part.name, part.fallback, sources.env);
  }
}

function variableValue(name: string, fallback: string | undefined, env: Environment): BuiltinValue {
  if (name.toUpperCase().startsWith('CASTELLAN_')) {
    return { error: `variable ${name} is Castellan's own and never expands: use another variable` };
  }
  const value = Object.hasOwn(env, name) ? env[name] : undefined;
  if (fallback !== undefined) return { value: value || fallback };
  if (value !== undefined) return { value };
  return { error: `variable ${name} is not set: set it, or give a default with \${${name}:-…}` };
}

/**
 * Replaces variables alone, for an object that goes to a server over the API: what the server has to resolve stays,
 * and a `${` inside a value arrives escaped, so that the server never reads a value as a placeholder.
 */
export function expandVariables(text: string, env: Environment): Outcome {
  const errors: string[] = [];
  let written = '';
  for (const part of partsOf(text)) {
    if (part.type === 'secret' || part.type === 'builtin') {
      if (written.endsWith('$'))
        errors.push('a "$" stands directly before a placeholder: put something between them');
      written += part.raw;
      continue;
    }
    const outcome = partValue(part, { env, builtin: nothing, secret: nothing });
    if ('error' in outcome) errors.push(outcome.error);
    else written = appendLiteral(written, outcome.value);
  }
  return { text: written, errors };
}

const nothing = () => ({ error: '' });

/** Replaces variables in a value of a Secret, where no other placeholder has a meaning. */
export function expandSecretValue(text: string, env: Environment): Outcome {
  const none = () => ({
    error: `only variables expand in a secret: write \${VAR}, or "$\${" for a literal "\${"`,
  });
  return expandText(text, { env, builtin: none, secret: none });
}

function appendLiteral(written: string, literal: string): string {
  const escaped = literal.replaceAll('${', () => '$${');
  return written.endsWith('$') && escaped.startsWith('{') ? `${written}$${escaped}` : written + escaped;
}

/** Applies `expand` to every text below `value`, keys excepted, and collects what failed with its path. */
export function expandAll(
  value: unknown,
  path: FieldPath,
  expand: (text: string, path: FieldPath) => Outcome,
  problems: Problem[],
): unknown {
  if (typeof value === 'string') {
    const { text, errors } = expand(value, path);
    problems.push(...errors.map((message) => ({ path, message })));
    return text;
  }
  if (Array.isArray(value))
    return value.map((item, index) => expandAll(item, [...path, index], expand, problems));
  if (!isMapping(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, expandAll(item, [...path, key], expand, problems)]),
  );
}
