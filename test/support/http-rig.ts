import assert from 'node:assert/strict';
import { ServerClient } from '../../src/net/server-client.ts';
import type { JsonRpcMessage } from '../../src/protocol/jsonrpc.ts';
import { HttpTransport } from '../../src/upstream/http-transport.ts';
import { type Answer, type ExchangeOptions, UpstreamFault } from '../../src/upstream/transport.ts';
import { type Script, ScriptedUpstream } from './scripted-upstream.ts';

export const MAX_BYTES = 1024 * 1024;

/** A scripted upstream with a transport to it, and what the transport reported. */
export class HttpRig implements AsyncDisposable {
  readonly client = new ServerClient();
  readonly stray: JsonRpcMessage[] = [];
  readonly closed: UpstreamFault[] = [];
  readonly upstream: ScriptedUpstream;
  readonly transport: HttpTransport;

  private constructor(upstream: ScriptedUpstream, headers: Record<string, string>) {
    this.upstream = upstream;
    this.transport = new HttpTransport(
      { url: upstream.url, headers, client: this.client, serverName: 'x' },
      {
        onMessage: (message) => void this.stray.push(message),
        onClosed: (fault) => void this.closed.push(fault),
      },
    );
  }

  static async start(script: Script, headers: Record<string, string> = {}): Promise<HttpRig> {
    return new HttpRig(await ScriptedUpstream.start(script), headers);
  }

  call(options: Partial<ExchangeOptions> = {}, id: number | string = 1): Promise<Answer> {
    const request = { jsonrpc: '2.0', id, method: 'tools/call' } as const;
    return this.transport.exchange(request, { maxBytes: MAX_BYTES, ...options }).answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.transport.close();
    await this.client[Symbol.asyncDispose]();
    await this.upstream[Symbol.asyncDispose]();
  }
}

/** The fault something ends with, checked for its kind. */
export async function faultOf(work: Promise<unknown>, kind: UpstreamFault['kind']): Promise<UpstreamFault> {
  const outcome = await work.catch((error: unknown) => error);
  assert.ok(outcome instanceof UpstreamFault, `expected a fault, got ${JSON.stringify(outcome)}`);
  assert.equal(outcome.kind, kind, outcome.message);
  return outcome;
}

export const result = (id: unknown, value: unknown = {}) => ({ jsonrpc: '2.0', id, result: value });
export const failure = (id: unknown, code: number, message = 'no') => ({
  jsonrpc: '2.0',
  id,
  error: { code, message },
});
