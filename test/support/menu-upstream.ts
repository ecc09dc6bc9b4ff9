import type { ServerResponse } from 'node:http';
import type { Loose } from './agent.ts';
import { ScriptedUpstream, type Seen, sendJson } from './scripted-upstream.ts';

export type Menu = {
  capabilities: object;
  /** Results by method; one with a `code` is sent as an error. */
  answers: { [method: string]: (params: Loose) => object | Promise<object> };
};

export type Asked = { method: string; params: Loose; headers: Seen['headers'] };

/** An HTTP MCP server of one era that offers what a test says, and keeps what it was asked. */
export class MenuUpstream implements AsyncDisposable {
  readonly asked: Asked[] = [];
  menu: Menu;
  readonly #era: 'legacy' | 'modern';
  #upstream!: ScriptedUpstream;

  private constructor(era: 'legacy' | 'modern', menu: Menu) {
    this.#era = era;
    this.menu = menu;
  }

  static async start(era: 'legacy' | 'modern', menu: Menu): Promise<MenuUpstream> {
    const one = new MenuUpstream(era, menu);
    one.#upstream = await ScriptedUpstream.start((seen, response) => one.#serve(seen, response));
    return one;
  }

  get url(): string {
    return `${this.#upstream.origin}/mcp`;
  }

  /** What was asked by this method so far. */
  of(method: string): Asked[] {
    return this.asked.filter((one) => one.method === method);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#upstream[Symbol.asyncDispose]();
  }

  async #serve({ method: verb, body, headers }: Seen, response: ServerResponse): Promise<void> {
    if (verb !== 'POST') {
      response.writeHead(405).end();
      return;
    }
    const { id, method, params } = JSON.parse(body) as { id?: unknown; method: string; params?: Loose };
    if (id === undefined) {
      response.writeHead(202).end();
      return;
    }
    this.asked.push({ method, params, headers });
    const answer = this.#introduction(method) ?? (await this.menu.answers[method]?.(params));
    if (!answer) {
      const error = { code: -32601, message: `Method not found: ${method}` };
      sendJson(response, { jsonrpc: '2.0', id, error }, this.#era === 'modern' ? 404 : 200);
    } else if ('code' in answer) sendJson(response, { jsonrpc: '2.0', id, error: answer });
    else {
      const result = this.#era === 'modern' ? { resultType: 'complete', ...answer } : answer;
      sendJson(response, { jsonrpc: '2.0', id, result });
    }
  }

  #introduction(method: string): object | undefined {
    const { capabilities } = this.menu;
    if (this.#era === 'modern' && method === 'server/discover')
      return { supportedVersions: ['2026-07-28'], capabilities, ttlMs: 60_000, cacheScope: 'public' };
    if (this.#era === 'legacy' && method === 'initialize') {
      const serverInfo = { name: 'menu', version: '1' };
      return { protocolVersion: '2025-11-25', capabilities, serverInfo };
    }
    return undefined;
  }
}
