import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type Agent, type Loose, type Message, newAgent, writeConfig } from './agent.ts';
import { OracleUpstream } from './oracle-upstream.ts';
import { startCastellan, type TestCastellan } from './running-castellan.ts';

const HOSTILE = path.join(import.meta.dirname, 'hostile-server.ts');

/** Names that every JavaScript object has. */
export const AWKWARD = ['constructor', 'toString', 'hasOwnProperty'];

export const LIST = { jsonrpc: '2.0', id: 1, method: 'tools/list' };

export const echo = (text: string, id: unknown = 1) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name: 'legacy__echo', arguments: { text } },
});

/** A server, as a configuration file names it, that keeps its journal in `folder`. */
export function hostile(folder: string, name: string) {
  return { command: process.execPath, args: [HOSTILE, path.join(folder, name)] };
}

/** What hides and renames tools of the server `legacy`. */
export const TOOLS = { deny: ['secret_*'], override: { old_name: { name: 'new_name' } } };

type Config = { servers: Record<string, object>; projects: Record<string, object> };

/**
 * A Castellan in front of servers that keep what reaches them: `p` has `legacy`, `modern` and `changing`, and
 * `workshop` on its operator surface; `q` has `modern`.
 */
export class EndpointRig implements AsyncDisposable {
  readonly folder: string;
  readonly castellan: TestCastellan;
  readonly legacy: OracleUpstream;
  readonly modern: OracleUpstream;
  /** Of the project `p`; `other` is another principal of it. */
  readonly agent: Agent & { tokenName: string };
  readonly other: Agent;
  readonly #used: AsyncDisposableStack;

  private constructor(
    parts: Pick<EndpointRig, 'folder' | 'castellan' | 'legacy' | 'modern' | 'agent' | 'other'>,
    used: AsyncDisposableStack,
  ) {
    this.folder = parts.folder;
    this.castellan = parts.castellan;
    this.legacy = parts.legacy;
    this.modern = parts.modern;
    this.agent = parts.agent;
    this.other = parts.other;
    this.#used = used;
  }

  static async start(more: Config = { servers: {}, projects: {} }): Promise<EndpointRig> {
    await using used = new AsyncDisposableStack();
    const folder = await mkdtemp(path.join(tmpdir(), 'castellan-endpoint-'));
    used.defer(() => rm(folder, { recursive: true }));
    const tools = ['echo', 'hold', 'secret_one', 'old_name', ...AWKWARD];
    const legacy = used.use(await OracleUpstream.start('legacy', tools));
    const modern = used.use(await OracleUpstream.start('modern'));
    const file = await writeConfig(
      path.join(folder, 'config.json'),
      {
        legacy: { url: legacy.url, tools: TOOLS },
        modern: { url: modern.url },
        changing: hostile(folder, 'changing'),
        workshop: hostile(folder, 'workshop'),
        ...more.servers,
      },
      {
        p: { servers: ['legacy', 'modern', 'changing'], operatorServers: ['workshop'] },
        q: { servers: ['modern'] },
        ...more.projects,
      },
    );
    const castellan = used.use(await startCastellan(['--config', file]));
    const [agent, other] = await Promise.all([newAgent(castellan, 'p'), newAgent(castellan, 'p')]);
    await agent.ask('tools/list');
    return new EndpointRig({ folder, castellan, legacy, modern, agent, other }, used.move());
  }

  /** Calls that reached the servers so far. */
  forwarded(): number {
    return this.legacy.calls.length + this.modern.calls.length;
  }

  async openStreams(): Promise<number> {
    const text = await (await fetch(`${this.castellan.url}/metrics`)).text();
    return Number(/^castellan_open_streams (\d+)/m.exec(text)?.[1]);
  }

  authorization(): string {
    return `authorization: Bearer ${this.agent.token}`;
  }

  /** Sends bytes as they are and reads until the server closes; the status and the whole answer. */
  async raw(...parts: (string | Buffer)[]): Promise<{ status: number; text: string }> {
    const { port } = new URL(this.castellan.url);
    const socket = connect(Number(port), '127.0.0.1');
    let text = '';
    socket.setTimeout(10_000, () => socket.destroy());
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => {
      text += chunk;
    });
    const closed = new Promise((resolve) => socket.on('close', resolve));
    for (const part of parts) socket.write(part);
    await closed;
    return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]), text };
  }

  /** A request to `agent`'s endpoint, head by hand. */
  rawPost(
    head: string[],
    body: string,
    target = '/projects/p/mcp',
  ): Promise<{ status: number; text: string }> {
    const lines = [
      `POST ${target} HTTP/1.1`,
      ...head,
      'content-type: application/json',
      `content-length: ${Buffer.byteLength(body)}`,
      'connection: close',
    ];
    return this.raw(`${lines.join('\r\n')}\r\n\r\n${body}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#used.disposeAsync();
  }
}

export async function errorOf(
  response: Response,
): Promise<{ status: number; code: number; message: string; data: Loose; id: unknown }> {
  const { error, id } = (await response.json()) as Message;
  assert.ok(error, 'an error is expected');
  return { status: response.status, id, ...error, data: error.data };
}
