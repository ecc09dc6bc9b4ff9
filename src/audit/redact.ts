import { type AuditDetail, type AuditEventName, EVENTS } from './event.ts';

export const SECRET = '[secret]';
const CUT = '[cut]';

const MAX_DETAIL = 4_096;
const MAX_TEXT = 256;
const MAX_DEPTH = 6;
const MAX_MEMBERS = 50;

/** Names under which people keep what nobody else should read. */
const SECRET_NAME =
  /pass(word|wd|phrase|code)?$|secret|token|api_?-?key|private_?-?key|access_?-?key|credential|authori[sz]ation|cookie|session|otp$|^pin$|^auth$|signature|bearer|ssn|iban|card_?-?number|cvv/i;
/** Texts that are a credential wherever they stand. */
const SECRET_TEXT =
  /cst_(?:pat|adm|ses|inv|at|rt)_|\bbearer\s+\S|-----BEGIN|\beyJ[\w-]{10,}\.|\b(?:gh[pousr]|github_pat|glpat|xox[abpr]|sk|rk|pk)[-_][\w-]{16,}|\bAKIA[0-9A-Z]{12,}|:\/\/[^/\s:@]+:[^/\s@]+@/i;

/** The details that an event's row may carry, as JSON text; undefined when there are none. */
export function detailText(event: AuditEventName, detail: AuditDetail | undefined): string | undefined {
  if (detail === undefined) return undefined;
  const open: readonly string[] = EVENTS[event];
  const kept: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(detail)) {
    if (value !== undefined) kept[name] = open.includes(name) ? value : SECRET;
  }
  const text = JSON.stringify(kept);
  if (text.length <= MAX_DETAIL) return text === '{}' ? undefined : text;
  // Told rather than cut: half a JSON text is none.
  const names = Object.keys(kept).slice(0, MAX_MEMBERS);
  return JSON.stringify(Object.fromEntries(names.map((name) => [name, shortened(kept[name])])));
}

function shortened(value: unknown): unknown {
  const text = JSON.stringify(value) ?? 'null';
  return text.length > MAX_TEXT ? CUT : value;
}

/**
 * Arguments of a call, for a project that has them recorded: what is named or looks like a secret is left out, as is
 * what the tool's schema marks `writeOnly` or `format: password`; the rest is bounded.
 */
export function recordedArguments(given: unknown, schema?: unknown): unknown {
  return walk(given, schema, 0);
}

function walk(value: unknown, schema: unknown, depth: number): unknown {
  if (isSecretSchema(schema)) return SECRET;
  if (typeof value === 'string') {
    if (SECRET_TEXT.test(value)) return SECRET;
    return value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}… (${value.length} characters)` : value;
  }
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= MAX_DEPTH) return CUT;
  if (Array.isArray(value)) {
    const items = (schema as { items?: unknown } | undefined)?.items;
    const kept = value.slice(0, MAX_MEMBERS).map((one) => walk(one, items, depth + 1));
    return value.length > MAX_MEMBERS ? [...kept, CUT] : kept;
  }
  const properties = (schema as { properties?: Record<string, unknown> } | undefined)?.properties;
  const members = Object.entries(value).slice(0, MAX_MEMBERS);
  return Object.fromEntries(
    members.map(([name, member]) => {
      if (SECRET_NAME.test(name)) return [name, SECRET];
      const own = properties && Object.hasOwn(properties, name) ? properties[name] : undefined;
      return [name.slice(0, MAX_TEXT), walk(member, own, depth + 1)];
    }),
  );
}

function isSecretSchema(schema: unknown): boolean {
  const { writeOnly, format } = (schema ?? {}) as { writeOnly?: unknown; format?: unknown };
  return writeOnly === true || format === 'password';
}
