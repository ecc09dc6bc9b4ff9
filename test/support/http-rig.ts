import assert from 'node:assert/strict';
import { Load, type ReplyReader } from '../../src/net/reply.ts';
import { ServerClient, type ServerRequest } from '../../src/net/server-client.ts';
import { ServerThread } from '../../src/net/server-thread-client.ts';
import type { JsonRpcMessage } from '../../src/protocol/jsonrpc.ts';
import { HttpTransport } from '../../src/upstream/http-transport.ts';
import { type Answer, type ExchangeOptions, UpstreamFault } from '../../src/upstream/transport.ts';
import { eventually } from './processes.ts';
import { type Script, ScriptedUpstream } from './scripted-upstream.ts';

export const MAX_BYTES = 1024 * 1024;

type Client = Pick<ServerClient, 'lease'> & AsyncDisposable;

/** Sends everything from a thread, which a server does while it has much to do. */
class ThreadClient implements Client {
  readonly #load = new Load();
  readonly #thread = new ServerThread(() => {});

  static async start(): Promise<ThreadClient> {
    const client = new ThreadClient();
    await eventually('the thread has started', () => client.#thread.ready);
    return client;
  }

  lease(origin: string) {
    const send = (request: ServerRequest, reader: ReplyReader) => {
      this.#thread.send(origin, request, reader, this.#load);
      return true;
    };
    return { call: send, stream: send, release: async () => this.#thread.close(origin) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#thread.end();
    assert.equal(this.#load.running, 0);
  }
}

let open: () => Promise<Client> = async () => new ServerClient();

/** For all rigs of this process, which have to be made afterwards. */
export function sendFromThreads(): void {
  open = () => ThreadClient.start();
}

/** A scripted upstream with a transport to it, and what the transport reported. */
export class HttpRig implements AsyncDisposable {
  readonly client: Client;
  readonly stray: JsonRpcMessage[] = [];
  readonly closed: UpstreamFault[] = [];
  readonly upstream: ScriptedUpstream;
  readonly transport: HttpTransport;

  private constructor(client: Client, upstream: ScriptedUpstream, headers: Record<string, string>) {
    this.client = client;
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
    return new HttpRig(await open(), await ScriptedUpstream.start(script), headers);
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
