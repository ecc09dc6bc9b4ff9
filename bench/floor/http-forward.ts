import type { IncomingHttpHeaders, ServerResponse } from 'node:http';
import { type Dispatcher, Pool } from 'undici';
import type { Message } from '../era.ts';
import type { Forward } from './forward.ts';

const RELAYED = ['content-type', 'accept', 'mcp-protocol-version', 'mcp-session-id', 'mcp-method'] as const;

/**
 * Passes a request on to one HTTP upstream and its answer's bytes back untouched. Dispatches with a handler of its own:
 * `undici.request` costs a readable stream and a promise more per call.
 */
export function createHttpForward(upstream: string): Forward {
  const url = new URL(upstream);
  const pool = new Pool(url.origin, { connections: 128, pipelining: 1, keepAliveTimeout: 60_000 });
  return (headers, message, body, response) => {
    const request = { path: url.pathname, method: 'POST' as const, headers: relay(headers, message), body };
    pool.dispatch(request, new AnswerRelay(response));
  };
}

function relay(headers: IncomingHttpHeaders, message: Message): string[] {
  const out: string[] = [];
  for (const name of RELAYED) {
    const value = headers[name];
    if (typeof value === 'string') out.push(name, value);
  }
  const name = message.params?.name;
  if (name !== undefined && headers['mcp-name'] !== undefined) out.push('mcp-name', name);
  return out;
}

/** Writes head and body in one go when the body came in one piece, as every small answer does. */
class AnswerRelay implements Dispatcher.DispatchHandler {
  readonly #response: ServerResponse;
  #expected = 0;
  #received = 0;

  constructor(response: ServerResponse) {
    this.#response = response;
  }

  onRequestStart(): void {}

  onResponseStart(_controller: unknown, status: number, headers: IncomingHttpHeaders): void {
    const head: string[] = [];
    for (const name of ['content-type', 'content-length', 'mcp-session-id'] as const) {
      const value = headers[name];
      if (typeof value === 'string') head.push(name, value);
    }
    this.#expected = Number(headers['content-length'] ?? -1);
    this.#response.writeHead(status, head);
  }

  onResponseData(_controller: unknown, chunk: Buffer): void {
    this.#received += chunk.length;
    if (this.#received === this.#expected) this.#response.end(chunk);
    else this.#response.write(chunk);
  }

  onResponseEnd(): void {
    if (!this.#response.writableEnded) this.#response.end();
  }

  onResponseError(_controller: unknown, error: Error): void {
    if (this.#response.headersSent) this.#response.destroy(error);
    else this.#response.writeHead(502).end(error.message);
  }
}
