import {
  encodeHeaderValue,
  mirroredName,
  type ParamHeader,
  paramHeadersOf,
  paramHeaderValues,
} from '../../protocol/headers.ts';
import { ErrorCode, isObject, type JsonObject, type JsonRpcRequest } from '../../protocol/jsonrpc.ts';
import { Meta } from '../../protocol/revisions.ts';
import { type Answer, type Asked, ask } from './exchange.ts';
import type { ServerLink } from './server-link.ts';

const MAX_TOOLS_KNOWN = 2_000;
const MAX_PAGES = 200;

/** Whether a request claims the revision that has no sessions (2026-07-28 basic/index#meta). */
export function isModern({ params }: { params?: JsonObject }): boolean {
  return isObject(params?._meta) && params._meta[Meta.protocolVersion] !== undefined;
}

/** What stands in the body on stdio stands in headers, too, over HTTP (2026-07-28 streamable-http#request-headers). */
export function modernHeaders({ method, params }: JsonRpcRequest): Record<string, string> {
  const meta = isObject(params?._meta) ? params._meta : {};
  const name = mirroredName(method, params);
  return {
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': encodeHeaderValue(String(meta[Meta.protocolVersion])),
    'mcp-method': method,
    ...(name === undefined ? {} : { 'mcp-name': encodeHeaderValue(name) }),
  };
}

/** Requests of the modern revision that have one answer. */
export class ModernRequests {
  readonly #link: ServerLink;
  readonly #path: string;
  /** Which arguments of a tool go into headers as well, for tools that want that. */
  readonly #parameters = new Map<string, readonly ParamHeader[]>();

  constructor(link: ServerLink, path: string) {
    this.#link = link;
    this.#path = path;
  }

  async ask(message: JsonRpcRequest, asked: Omit<Asked, 'headers'>): Promise<Answer> {
    const answer = await this.#once(message, asked);
    const mismatch = 'error' in answer.message && answer.message.error.code === ErrorCode.headerMismatch;
    if (!mismatch || message.method !== 'tools/call') return answer;
    // Nothing was called: the tool wants arguments in headers, or no longer the same ones.
    return (await this.#learn(message, asked.signal)) ? this.#once(message, asked) : answer;
  }

  #once(message: JsonRpcRequest, asked: Omit<Asked, 'headers'>): Promise<Answer> {
    const { name, arguments: args } = message.params ?? {};
    const wanted = message.method === 'tools/call' ? this.#parameters.get(String(name)) : undefined;
    const mirrored = wanted && isObject(args) ? paramHeaderValues(wanted, args) : {};
    const headers = { ...modernHeaders(message), ...mirrored };
    return ask(this.#link, this.#path, { ...asked, headers });
  }

  /** Looks the tool up. False: it wants no arguments in headers. */
  async #learn({ params }: JsonRpcRequest, signal: AbortSignal): Promise<boolean> {
    const name = String(params?.name);
    let cursor: unknown;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const meta = { ...(params?._meta as JsonObject), progressToken: undefined };
      const list: JsonRpcRequest = {
        jsonrpc: '2.0',
        id: 'castellan-tools',
        method: 'tools/list',
        params: { _meta: meta, ...(cursor === undefined ? {} : { cursor }) },
      };
      const quiet = { signal, opened: () => {}, heard: () => {} };
      const whole = { ...quiet, line: JSON.stringify(list), id: list.id, headers: modernHeaders(list) };
      const { message } = await ask(this.#link, this.#path, whole);
      if ('error' in message) return false;
      const { tools, nextCursor } = message.result;
      const tool = Array.isArray(tools) ? tools.find((one) => isObject(one) && one.name === name) : undefined;
      if (tool) return this.#remember(name, tool);
      if (typeof nextCursor !== 'string') return false;
      cursor = nextCursor;
    }
    return false;
  }

  #remember(name: string, { inputSchema }: JsonObject): boolean {
    const found = isObject(inputSchema) ? paramHeadersOf(inputSchema) : undefined;
    if (!found?.ok || found.headers.length === 0) return this.#parameters.delete(name);
    if (this.#parameters.size >= MAX_TOOLS_KNOWN) this.#parameters.clear();
    this.#parameters.set(name, found.headers);
    return true;
  }
}
