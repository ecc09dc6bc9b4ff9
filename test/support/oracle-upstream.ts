import type { ServerResponse } from 'node:http';
import { eventually } from './processes.ts';
import { idOf, type Script, ScriptedUpstream, type Seen, sendJson } from './scripted-upstream.ts';

type Call = { name: string; arguments: Record<string, unknown>; headers: Seen['headers']; left: boolean };

/** An HTTP MCP server of one era that keeps every call it gets. `hold` answers only when the test says so. */
export class OracleUpstream implements AsyncDisposable {
  readonly calls: Call[] = [];
  /** Methods of all requests, in order. */
  readonly methods: string[] = [];
  readonly #held: (() => void)[] = [];
  readonly #era: 'legacy' | 'modern';
  #upstream!: ScriptedUpstream;
  /** Tools that it lists. */
  tools: string[];
  /** What it says of every tool, beside its name. */
  about: object = {};

  private constructor(era: 'legacy' | 'modern', tools: string[]) {
    this.#era = era;
    this.tools = tools;
  }

  static async start(era: 'legacy' | 'modern', tools = ['echo', 'hold'], port = 0): Promise<OracleUpstream> {
    const oracle = new OracleUpstream(era, tools);
    const script: Script = (seen, response) => oracle.#serve(seen, response);
    oracle.#upstream = await ScriptedUpstream.start(script, port);
    return oracle;
  }

  get url(): string {
    return `${this.#upstream.origin}/mcp`;
  }

  get requests(): readonly Seen[] {
    return this.#upstream.requests;
  }

  /** Waits for a call to arrive that was not there before. */
  async arrival(after: number): Promise<Call> {
    await eventually('the call arrives', () => this.calls.length > after);
    return this.calls[after]!;
  }

  /** Answers everything that is held. */
  letGo(): void {
    for (const answer of this.#held.splice(0)) answer();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#upstream[Symbol.asyncDispose]();
  }

  #serve(seen: Seen, response: ServerResponse): void {
    if (seen.method !== 'POST') {
      response.writeHead(405).end();
      return;
    }
    const { method, params } = JSON.parse(seen.body) as { method: string; params?: Record<string, unknown> };
    this.methods.push(method);
    const id = idOf(seen);
    const answer = (result: object) =>
      sendJson(response, {
        jsonrpc: '2.0',
        id,
        result: this.#era === 'modern' ? { resultType: 'complete', ...result } : result,
      });
    const capabilities = { tools: {} };
    const serverInfo = { name: 'oracle', version: '1' };
    if (id === undefined) response.writeHead(202).end();
    else if (method === 'server/discover' && this.#era === 'modern') {
      answer({ supportedVersions: ['2026-07-28'], capabilities });
    } else if (method === 'initialize' && this.#era === 'legacy') {
      answer({ protocolVersion: '2025-11-25', capabilities, serverInfo });
    } else if (method === 'tools/list') {
      answer({ tools: this.tools.map((name) => ({ name, inputSchema: { type: 'object' }, ...this.about })) });
    } else if (method === 'tools/call') this.#call(params as never, seen, response, answer);
    else sendJson(response, { jsonrpc: '2.0', id, error: { code: -32601, message: 'no' } }, 400);
  }

  #call(
    params: { name: string; arguments?: Record<string, unknown> },
    seen: Seen,
    response: ServerResponse,
    answer: (result: object) => void,
  ): void {
    const call = { name: params.name, arguments: params.arguments ?? {}, headers: seen.headers, left: false };
    this.calls.push(call);
    response.on('close', () => {
      call.left = !response.writableFinished;
    });
    const done = () => answer({ content: [{ type: 'text', text: JSON.stringify(call.arguments) }] });
    if (params.name === 'fail') answer({ content: [{ type: 'text', text: 'no' }], isError: true });
    else if (params.name === 'hold') this.#held.push(done);
    else done();
  }
}
