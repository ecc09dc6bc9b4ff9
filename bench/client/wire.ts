import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Era, META_CAPABILITIES, META_CLIENT, META_VERSION, VERSION } from '../era.ts';

/** `call` asks for an echo, `read` for the text of `FILE`, `search` for files of its folder, `list` for all tools. */
export type Operation = 'call' | 'read' | 'search' | 'list';

/** What is read: a file of about the size that agents read. */
export const FILE = new URL('../README.md', import.meta.url).pathname;
/** The text of an answer holds the file as a JSON string does. */
const FILE_TEXT = JSON.stringify(readFileSync(FILE, 'utf8')).slice(1, -1);

const SEARCH = JSON.stringify({ path: dirname(FILE), pattern: '**/wire.ts' });
const FOUND = JSON.stringify(new URL(import.meta.url).pathname).slice(1, -1);

const CLIENT_INFO = { name: 'bench-client', version: '1.0.0' };
const MODERN_META = JSON.stringify({
  [META_VERSION]: VERSION.modern,
  [META_CLIENT]: CLIENT_INFO,
  [META_CAPABILITIES]: {},
});

/** Builds request texts by hand from parts that are ASCII, so that a string's length is its length in bytes. */
export class RequestTexts {
  readonly #method: string;
  readonly #fixed: string;
  readonly #operation: Operation;

  constructor(era: Era, operation: Operation, tool: string) {
    this.#operation = operation;
    this.#method = methodOf(operation);
    const meta = era === 'modern' ? [`"_meta":${MODERN_META}`] : [];
    const name = operation === 'list' ? [] : [`"name":${JSON.stringify(tool)}`];
    this.#fixed = [...meta, ...name].join(',');
  }

  /** The JSON-RPC request; what asks for an echo carries its own id in its arguments, so that swapped answers show. */
  body(id: number, cursor: string | undefined): string {
    const own = this.#own(id, cursor);
    const params = this.#fixed === '' || own === '' ? this.#fixed + own : `${this.#fixed},${own}`;
    return `{"jsonrpc":"2.0","id":${id},"method":"${this.#method}","params":{${params}}}`;
  }

  #own(id: number, cursor: string | undefined): string {
    if (this.#operation === 'call') return `"arguments":{"message":"${markerOf(id)}"}`;
    if (this.#operation === 'read') return `"arguments":{"path":${JSON.stringify(FILE)}}`;
    if (this.#operation === 'search') return `"arguments":${SEARCH}`;
    return cursor === undefined ? '' : `"cursor":${JSON.stringify(cursor)}`;
  }
}

export function methodOf(operation: Operation): 'tools/call' | 'tools/list' {
  return operation === 'list' ? 'tools/list' : 'tools/call';
}

export const INITIALIZE = JSON.stringify({
  jsonrpc: '2.0',
  id: 0,
  method: 'initialize',
  params: { protocolVersion: VERSION.legacy, capabilities: {}, clientInfo: CLIENT_INFO },
});
export const INITIALIZED = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' });

function markerOf(id: number): string {
  return `call-${id}`;
}

/** What is wrong with an answer, or undefined. Cheap on purpose: substring searches, no parse. */
export function faultOf(operation: Operation, id: number, text: string): string | undefined {
  if (!text.includes(`"id":${id}`)) return 'the answer has another id';
  if (!text.includes('"result":') || text.includes('"isError":true')) return 'the answer is an error';
  if (operation === 'call' && !text.includes(`"${markerOf(id)} `))
    return 'the answer belongs to another call';
  if (operation === 'read' && !text.includes(FILE_TEXT)) return 'the answer is another text';
  if (operation === 'search' && !text.includes(FOUND)) return 'the answer does not name the file';
  return undefined;
}

/** How many tools a page of a list describes. */
export function countTools(text: string): number {
  let count = 0;
  for (let at = text.indexOf('"inputSchema"'); at !== -1; at = text.indexOf('"inputSchema"', at + 1))
    count += 1;
  return count;
}

export function nextCursorOf(text: string): string | undefined {
  const cursor = /"nextCursor":("(?:[^"\\]|\\.)*")/.exec(text)?.[1];
  return cursor === undefined ? undefined : (JSON.parse(cursor) as string);
}
