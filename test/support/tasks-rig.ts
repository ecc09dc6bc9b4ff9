/** A Castellan in front of a 2025-11-25 and a 2026-07-28 server with tasks, for every file of tests that imports it. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before } from 'node:test';
import { Client as OldClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as OldTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { type RunningFixture, startFixture } from '../conformance/fixture/server.ts';
import { LegacyTaskServer } from './legacy-task-server.ts';
import { eventually } from './processes.ts';
import { startCastellan, type TestCastellan } from './running-castellan.ts';
import { META, type Message, Wire } from './wire-client.ts';

export const FORM = { elicitation: { form: {} } };
export const TASKS = { extensions: { [`${META}tasks`]: {} } };
export const RELATED = `${META}related-task`;
export const caps = (capabilities: object) => ({ [`${META}clientCapabilities`]: capabilities });
export const WITH_TASKS = caps({ ...TASKS, ...FORM });

export type Fields = Record<string, unknown>;

export let old: LegacyTaskServer;
export let modern: RunningFixture;
export let castellan: TestCastellan;
let folder: string;
let dataDir: string;
let config: string;

before(async () => {
  old = await LegacyTaskServer.start();
  modern = await startFixture('tasks');
  folder = await mkdtemp(path.join(tmpdir(), 'castellan-tasks-'));
  dataDir = path.join(folder, 'data');
  config = path.join(folder, 'castellan.yaml');
  const server = (name: string, url: string) => `kind: Server
metadata: { name: ${name} }
spec: { url: "${url}", prefix: never }
`;
  const project = (name: string, servers: string, more = '') => `kind: Project
metadata: { name: ${name} }
spec: { servers: [${servers}]${more} }
`;
  const parts = [
    server('old', old.url),
    server('new', modern.url),
    project('old', 'old'),
    project('new', 'new'),
    project('both', 'old, new'),
    project('short', 'old, new', ', results: { maxBytes: 1KiB }'),
  ];
  await writeFile(config, parts.join('---\n'));
  castellan = await startCastellan(['--config', config], { dataDir });
});

after(async () => {
  await castellan?.[Symbol.asyncDispose]();
  await old?.[Symbol.asyncDispose]();
  await modern?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

export async function token(project: string): Promise<string> {
  const name = `t${Math.random().toString(36).slice(2)}`;
  const { stdout } = await castellan.cli('create', 'mcptoken', name, '-p', project, '--rbac', 'clone');
  return stdout.trim();
}

export async function wire(
  era: 'legacy' | 'modern',
  project: string,
  options: { token?: string; protocolVersion?: string; capabilities?: object } = {},
): Promise<Wire> {
  const bearer = options.token ?? (await token(project));
  const client = new Wire(era, `${castellan.url}/projects/${project}/mcp`, bearer);
  await client.open(options);
  return client;
}

export async function oldClient(project: string, capabilities: object = {}) {
  const bearer = await token(project);
  const client = new OldClient({ name: 'old', version: '1' }, { capabilities });
  const requestInit = { headers: { Authorization: `Bearer ${bearer}` } };
  const url = new URL(`${castellan.url}/projects/${project}/mcp`);
  await client.connect(new OldTransport(url, { requestInit }) as never);
  return client;
}

export function textOf(result: unknown): string {
  return JSON.stringify((result as Fields | undefined)?.content);
}

export async function state(
  client: Wire,
  taskId: unknown,
  until: string,
  meta: object = {},
): Promise<Fields> {
  let last: Message | undefined;
  await eventually(`the task is ${until}`, async () => {
    last = await client.ask('tasks/get', { taskId }, meta);
    return last.result?.status === until;
  });
  return last!.result!;
}

/** A task of the legacy server as a client of 2025-11-25 gets it. */
export async function begin(client: Wire, name: string, task: object = {}): Promise<Fields> {
  const answer = await client.ask('tools/call', { name, arguments: {}, task });
  assert.ok(answer.result?.task, JSON.stringify(answer));
  return answer.result.task as Fields;
}

/** Ends Castellan and starts it again on the same data. */
export async function restart(): Promise<void> {
  await castellan.stop();
  castellan = await startCastellan(['--config', config], { dataDir });
}
