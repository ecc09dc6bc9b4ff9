import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

type Message = {
  id?: number | string;
  method?: string;
  params?: Record<string, never>;
  result?: Record<string, unknown>;
};
type Waiting = (result: Record<string, unknown>) => void;

const MODERN_META = 'io.modelcontextprotocol/';
const TOOLS = ['echo', 'count', 'ask'].map((name) => ({ name, inputSchema: { type: 'object' } }));

/**
 * An MCP server of one era whose answers say whose call they belong to: `echo` gives `who` back, `count` reports three
 * steps that name `who`, `ask` asks the caller who it is and answers with what it heard.
 */
export class MixingUpstream implements AsyncDisposable {
  readonly era: 'legacy' | 'modern';
  readonly #server = createServer((req, res) => void this.#serve(req, res));
  readonly #questions = new Map<string, Waiting>();
  #sessions = 0;
  #asked = 0;

  private constructor(era: 'legacy' | 'modern') {
    this.era = era;
  }

  static async start(era: 'legacy' | 'modern'): Promise<MixingUpstream> {
    const upstream = new MixingUpstream(era);
    await new Promise<void>((resolve) => upstream.#server.listen(0, '127.0.0.1', resolve));
    return upstream;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/mcp`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    if (req.method !== 'POST') {
      res.writeHead(405).end();
      return;
    }
    let text = '';
    for await (const chunk of req) text += chunk;
    const message = JSON.parse(text) as Message;
    const session = String(req.headers['mcp-session-id'] ?? '');
    if (message.method === undefined) {
      this.#questions.get(`${session} ${message.id}`)?.(message.result ?? {});
      res.writeHead(202).end();
    } else if (message.id === undefined) {
      res.writeHead(202).end();
    } else if (message.method === 'tools/call') {
      await this.#call(message, session, res);
    } else {
      this.#answer(message, res);
    }
  }

  #answer({ id, method }: Message, res: ServerResponse): void {
    const { status, headers, ...reply } = this.#replyTo(method);
    send(res, { id, ...reply }, status, headers);
  }

  #replyTo(method: string | undefined): {
    status?: number;
    headers?: Record<string, string>;
    result?: object;
    error?: object;
  } {
    const modern = this.era === 'modern';
    if (method === 'tools/list') return { result: this.#stamp({ tools: TOOLS, ttlMs: 60_000 }) };
    if (modern && method === 'server/discover') {
      const result = {
        supportedVersions: ['2026-07-28'],
        capabilities: { tools: {} },
        ttlMs: 0,
        cacheScope: 'private',
      };
      return { result: this.#stamp(result) };
    }
    if (!modern && method === 'initialize') {
      this.#sessions += 1;
      const serverInfo = { name: 'mixing', version: '1' };
      const result = { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo };
      return { result, headers: { 'mcp-session-id': `s${this.#sessions}` } };
    }
    return { error: { code: -32601, message: 'no such method' }, status: modern ? 404 : 400 };
  }

  async #call({ id, params }: Message, session: string, res: ServerResponse): Promise<void> {
    const {
      name,
      arguments: args,
      _meta: meta,
      inputResponses,
    } = params as unknown as {
      name: string;
      arguments: { who: string };
      _meta?: { progressToken?: unknown };
      inputResponses?: { who?: { content?: { who?: string } } };
    };
    const done = (text: string) => ({ id, result: this.#stamp({ content: [{ type: 'text', text }] }) });
    if (name === 'echo') return send(res, done(args.who));
    if (name === 'count') {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const progress of [1, 2, 3]) {
        const report = { progressToken: meta?.progressToken, progress, message: args.who };
        event(res, { method: 'notifications/progress', params: report });
        await new Promise((resolve) => setImmediate(resolve));
      }
      event(res, done(args.who));
      res.end();
      return;
    }
    const question = { method: 'elicitation/create', params: { message: args.who, requestedSchema: SCHEMA } };
    if (this.era === 'modern') {
      const heard = inputResponses?.who?.content?.who;
      if (heard !== undefined) return send(res, done(heard));
      return send(res, {
        id,
        result: { resultType: 'input_required', inputRequests: { who: question }, requestState: args.who },
      });
    }
    this.#asked += 1;
    const key = `${session} ${this.#asked}`;
    const heard = new Promise<Record<string, unknown>>((resolve) => this.#questions.set(key, resolve));
    res.writeHead(200, { 'content-type': 'text/event-stream' });
    event(res, { id: this.#asked, ...question });
    const result = (await heard) as { content?: { who?: string } };
    this.#questions.delete(key);
    event(res, done(String(result.content?.who)));
    res.end();
  }

  #stamp(result: Record<string, unknown>): Record<string, unknown> {
    if (this.era === 'legacy') return result;
    return {
      resultType: 'complete',
      cacheScope: 'private',
      ...result,
      _meta: { [`${MODERN_META}serverInfo`]: { name: 'mixing', version: '1' } },
    };
  }
}

const SCHEMA = { type: 'object', properties: { who: { type: 'string' } }, required: ['who'] };

function send(
  res: ServerResponse,
  message: object,
  status = 200,
  headers: Record<string, string> = {},
): void {
  res.writeHead(status, { 'content-type': 'application/json', ...headers });
  res.end(JSON.stringify({ jsonrpc: '2.0', ...message }));
}

function event(res: ServerResponse, message: object): void {
  res.write(`data: ${JSON.stringify({ jsonrpc: '2.0', ...message })}\n\n`);
}
