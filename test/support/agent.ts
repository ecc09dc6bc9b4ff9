import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { encodeHeaderValue } from '../../src/protocol/headers.ts';
import type { TestCastellan } from './running-castellan.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are judged by assertions, not by types
export type Loose = any;

export type Message = {
  id?: unknown;
  result?: Record<string, Loose>;
  error?: { code: number; message: string; data?: Loose };
};

const MODERN = '2026-07-28';
const ACCEPT = 'application/json, text/event-stream';

/** A client without an SDK: it sends what it is told to, and shows the answer as it came. */
export class Agent {
  readonly url: string;
  readonly token: string | undefined;
  #nextId = 1;

  constructor(url: string, token: string | undefined) {
    this.url = url;
    this.token = token;
  }

  /** One request; a body that is no string is sent as JSON. */
  send(
    body: unknown,
    {
      method = 'POST',
      headers = {},
      signal,
    }: { method?: string; headers?: object; signal?: AbortSignal } = {},
  ): Promise<Response> {
    return fetch(this.url, {
      method,
      signal: signal ?? AbortSignal.timeout(60_000),
      headers: {
        ...(this.token === undefined ? {} : { authorization: `Bearer ${this.token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
  }

  /** A legacy request without a session. */
  async ask(method: string, params: object = {}, headers: object = {}): Promise<Message> {
    const response = await this.send({ jsonrpc: '2.0', id: this.#nextId++, method, params }, { headers });
    return (await response.json()) as Message;
  }

  call(name: string, args: object = {}): Promise<Message> {
    return this.ask('tools/call', { name, arguments: args });
  }

  /** What a modern request consists of, to be bent by a test before it is sent. */
  modern(method: string, params: Record<string, unknown> = {}, id: unknown = this.#nextId++) {
    const meta = {
      'io.modelcontextprotocol/protocolVersion': MODERN,
      'io.modelcontextprotocol/clientCapabilities': {},
    };
    const name = params.name ?? params.uri;
    const headers: Record<string, string> = {
      accept: ACCEPT,
      'mcp-protocol-version': MODERN,
      'mcp-method': method,
      ...(typeof name === 'string' ? { 'mcp-name': encodeHeaderValue(name) } : {}),
    };
    return { body: { jsonrpc: '2.0', id, method, params: { ...params, _meta: meta } }, headers };
  }

  sendModern(method: string, params: Record<string, unknown> = {}, signal?: AbortSignal): Promise<Response> {
    const { body, headers } = this.modern(method, params);
    return this.send(body, signal ? { headers, signal } : { headers });
  }

  /** Opens a legacy session; the header that names it. */
  async openSession(): Promise<{ 'mcp-session-id': string }> {
    const params = {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'agent', version: '1' },
    };
    const response = await this.send({ jsonrpc: '2.0', id: 0, method: 'initialize', params });
    await response.text();
    return { 'mcp-session-id': response.headers.get('mcp-session-id') ?? '' };
  }
}

/** The messages of an event stream, read as they come. */
export class Events {
  readonly messages: (Message & { method?: string; params?: Record<string, Loose> })[] = [];
  /** Resolves when the stream is over; true when the server ended it properly. */
  readonly ended: Promise<boolean>;

  constructor(response: Response) {
    this.ended = this.#read(response);
  }

  async #read(response: Response): Promise<boolean> {
    let text = '';
    const decoder = new TextDecoder();
    try {
      for await (const chunk of response.body!) {
        text += decoder.decode(chunk, { stream: true });
        for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
          const data = /^data: (.*)$/m.exec(text.slice(0, end))?.[1];
          if (data) this.messages.push(JSON.parse(data));
          text = text.slice(end + 2);
        }
      }
      return true;
    } catch {
      return false;
    }
  }
}

/** The operator's access to the REST API, with the credential that the CLI uses. */
export async function administrate(
  castellan: TestCastellan,
  method: string,
  route: string,
  body?: object,
): Promise<Loose> {
  const admin = JSON.parse(await readFile(path.join(castellan.dataDir, 'admin.json'), 'utf8'));
  const response = await fetch(`${castellan.url}/api/v1${route}`, {
    method,
    headers: { authorization: `Bearer ${admin.credential}`, 'content-type': 'application/json' },
    ...(body ? { body: JSON.stringify(body) } : {}),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${method} ${route}: ${response.status} ${JSON.stringify(answer)}`);
  return answer;
}

/** A fresh token of a project, in the hands of an agent. */
export async function newAgent(
  castellan: TestCastellan,
  project: string,
  { surface = 'consumer', surfaces = [surface] }: { surface?: string; surfaces?: string[] } = {},
): Promise<Agent & { tokenName: string }> {
  const tokenName = `agent-${randomBytes(6).toString('hex')}`;
  const { token } = await administrate(castellan, 'POST', '/mcptokens', {
    project,
    name: tokenName,
    rbac: 'clone',
    surfaces,
  });
  const endpoint = surface === 'operator' ? 'operator-mcp' : 'mcp';
  return Object.assign(new Agent(`${castellan.url}/projects/${project}/${endpoint}`, token), { tokenName });
}

/** A configuration file of plain objects: servers by name, projects by name. */
export async function writeConfig(
  file: string,
  servers: Record<string, object>,
  projects: Record<string, object>,
): Promise<string> {
  const objects = [
    ...Object.entries(servers).map(([name, spec]) => ({ kind: 'Server', metadata: { name }, spec })),
    ...Object.entries(projects).map(([name, spec]) => ({ kind: 'Project', metadata: { name }, spec })),
  ];
  await writeFile(file, JSON.stringify(objects.map((one) => ({ apiVersion: 'castellan/v1', ...one }))));
  return file;
}
