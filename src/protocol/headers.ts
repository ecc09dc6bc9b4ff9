import { isObject, type JsonObject } from './jsonrpc.ts';

/** Request headers as Node gives them: lower-case names; a repeated header of ours arrives joined or as a list. */
export type HeaderBag = { readonly [name: string]: string | string[] | undefined };

const SENTINEL_START = '=?base64?';
const SENTINEL_END = '?=';
const PLAIN = /^[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Encodes a value for `Mcp-Name` or `Mcp-Param-*` (2026-07-28 streamable-http#value-encoding). */
export function encodeHeaderValue(value: string): string {
  const plain = value === '' || PLAIN.test(value);
  const looksEncoded = value.startsWith(SENTINEL_START) && value.endsWith(SENTINEL_END);
  if (plain && !looksEncoded) return value;
  return `${SENTINEL_START}${Buffer.from(value, 'utf8').toString('base64')}${SENTINEL_END}`;
}

/** The value a header stands for, or undefined when its characters or its base64 are invalid. */
export function decodeHeaderValue(header: string): string | undefined {
  const value = header.trim();
  if (value !== '' && !PLAIN.test(value)) return undefined;
  if (!(value.startsWith(SENTINEL_START) && value.endsWith(SENTINEL_END))) return value;
  const encoded = value.slice(SENTINEL_START.length, -SENTINEL_END.length);
  if (!BASE64.test(encoded)) return undefined;
  const bytes = Buffer.from(encoded, 'base64');
  const text = bytes.toString('utf8');
  return Buffer.from(text, 'utf8').equals(bytes) ? text : undefined;
}

/** The body field that `Mcp-Name` mirrors, per method. */
const NAME_SOURCE: { readonly [method: string]: 'name' | 'uri' | 'taskId' } = {
  'tools/call': 'name',
  'prompts/get': 'name',
  'resources/read': 'uri',
  'tasks/get': 'taskId',
  'tasks/update': 'taskId',
  'tasks/cancel': 'taskId',
};

/** The value of `Mcp-Name` for this request, undefined where the header is not used. */
export function mirroredName(method: string, params: JsonObject | undefined): string | undefined {
  const source = NAME_SOURCE[method];
  const value = source && params?.[source];
  return typeof value === 'string' ? value : undefined;
}

/**
 * Compares the standard headers with the body, which alone decides. Returns the sentence for a -32020 answer.
 * (2026-07-28 streamable-http#server-validation)
 */
export function standardHeaderFault(
  method: string,
  params: JsonObject | undefined,
  headers: HeaderBag,
): string | undefined {
  return (
    mirrorFault('Mcp-Method', headers['mcp-method'], method, false) ??
    (NAME_SOURCE[method]
      ? mirrorFault('Mcp-Name', headers['mcp-name'], mirroredName(method, params), true)
      : undefined)
  );
}

function mirrorFault(
  name: string,
  header: string | string[] | undefined,
  body: string | undefined,
  encoded: boolean,
): string | undefined {
  // A missing body field is the params check's to report.
  if (body === undefined) return undefined;
  if (header === undefined) return `Header mismatch: ${name} is missing`;
  if (typeof header !== 'string') return `Header mismatch: ${name} is given more than once`;
  const value = encoded ? decodeHeaderValue(header) : header.trim();
  if (value === undefined) return `Header mismatch: ${name} has invalid characters or base64`;
  return value === body ? undefined : `Header mismatch: ${name} does not match the body`;
}

/** One annotated parameter: its path through `properties`, and the header that mirrors it. */
export type ParamHeader = { header: string; path: readonly string[]; type: 'string' | 'integer' | 'boolean' };

/** The `x-mcp-header` annotations of an input schema, or the reason why the tool must be dropped. */
export function paramHeadersOf(
  schema: JsonObject,
): { ok: true; headers: readonly ParamHeader[] } | { ok: false; reason: string } {
  const found: ParamHeader[] = [];
  const taken = new Set<string>();
  const reason = collect(schema, [], true, found, taken, 0);
  return reason === undefined ? { ok: true, headers: found } : { ok: false, reason };
}

const MAX_SCHEMA_DEPTH = 64;

function collect(
  node: unknown,
  path: readonly string[],
  reachable: boolean,
  found: ParamHeader[],
  taken: Set<string>,
  depth: number,
): string | undefined {
  if (depth > MAX_SCHEMA_DEPTH) return 'the input schema is nested too deeply';
  if (Array.isArray(node)) {
    for (const item of node) {
      const fault = collect(item, path, false, found, taken, depth + 1);
      if (fault) return fault;
    }
    return undefined;
  }
  if (!isObject(node)) return undefined;
  if ('x-mcp-header' in node) {
    const fault = annotationFault(node, path, reachable, found, taken);
    if (fault) return fault;
  }
  for (const [keyword, value] of Object.entries(node)) {
    // These hold instance data, in which the annotation's name means nothing.
    if (keyword === 'default' || keyword === 'const' || keyword === 'enum' || keyword === 'examples')
      continue;
    const inProperties = keyword === 'properties' && isObject(value);
    const entries = inProperties ? Object.entries(value) : [[undefined, value] as const];
    for (const [property, child] of entries) {
      const fault = collect(
        child,
        inProperties ? [...path, property as string] : path,
        reachable && inProperties,
        found,
        taken,
        depth + 1,
      );
      if (fault) return fault;
    }
  }
  return undefined;
}

function annotationFault(
  node: JsonObject,
  path: readonly string[],
  reachable: boolean,
  found: ParamHeader[],
  taken: Set<string>,
): string | undefined {
  const name = node['x-mcp-header'];
  if (typeof name !== 'string' || !TOKEN.test(name)) return 'x-mcp-header is not an HTTP field-name token';
  if (!reachable || path.length === 0)
    return `x-mcp-header "${name}" is not reachable through properties alone`;
  const type = node.type;
  if (type !== 'string' && type !== 'integer' && type !== 'boolean') {
    return `x-mcp-header "${name}" is on a parameter that is no string, integer or boolean`;
  }
  if (taken.has(name.toLowerCase())) return `x-mcp-header "${name}" is used twice`;
  taken.add(name.toLowerCase());
  found.push({ header: `mcp-param-${name.toLowerCase()}`, path, type });
  return undefined;
}

function valueAt(args: unknown, path: readonly string[]): unknown {
  let value: unknown = args;
  for (const key of path) {
    if (!isObject(value) || !Object.hasOwn(value, key)) return undefined;
    value = value[key];
  }
  return value;
}

/** The `Mcp-Param-*` headers that mirror these arguments. */
export function paramHeaderValues(
  headers: readonly ParamHeader[],
  args: unknown,
): Record<string, string> | undefined {
  let values: Record<string, string> | undefined;
  for (const { header, path } of headers) {
    const value = valueAt(args, path);
    if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') continue;
    values ??= {};
    values[header] = encodeHeaderValue(String(value));
  }
  return values;
}

/** The sentence for a -32020 answer when a `Mcp-Param-*` header and the arguments disagree. */
export function paramHeaderFault(
  headers: readonly ParamHeader[],
  args: unknown,
  given: HeaderBag,
): string | undefined {
  for (const { header, path, type } of headers) {
    const value = valueAt(args, path);
    const raw = given[header];
    const absent = value === undefined || value === null;
    if (absent && raw === undefined) continue;
    if (absent) return `Header mismatch: ${header} is given, the argument is not`;
    if (raw === undefined) return `Header mismatch: ${header} is missing`;
    if (typeof raw !== 'string') return `Header mismatch: ${header} is given more than once`;
    const decoded = decodeHeaderValue(raw);
    if (decoded === undefined) return `Header mismatch: ${header} has invalid characters or base64`;
    const same =
      type === 'integer' && decoded.trim() !== '' ? Number(decoded) === value : decoded === String(value);
    if (!same) return `Header mismatch: ${header} does not match the argument`;
  }
  return undefined;
}
