/**
 * A stdio server whose definitions change while it runs: `node changing-child.ts legacy|modern FILE`. It lists the tools
 * that the file holds, tells when that has changed, and answers every call with the name that was called.
 */
import { readFileSync, watchFile } from 'node:fs';
import { createInterface } from 'node:readline';

type Json = { [key: string]: unknown };
type Request = { id?: number | string; method: string; params?: Json };

const META = 'io.modelcontextprotocol/';
const LOOK_EVERY_MS = 50;
const modern = process.argv[2] === 'modern';
const file = process.argv[3] ?? '';
const capabilities = { tools: { listChanged: true } };
const listens = new Set<unknown>();

function send(message: Json): void {
  process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
}

function answer(id: unknown, result: Json): void {
  send({ id, result: modern ? { resultType: 'complete', ...result } : result });
}

function changed(): void {
  const method = 'notifications/tools/list_changed';
  if (!modern) send({ method });
  for (const id of listens) send({ method, params: { _meta: { [`${META}subscriptionId`]: id } } });
}

function handle({ id, method, params = {} }: Request): void {
  if (id === undefined) return;
  if (method === 'initialize' && !modern) {
    answer(id, {
      protocolVersion: '2025-11-25',
      capabilities,
      serverInfo: { name: 'changing', version: '1' },
    });
  } else if (method === 'server/discover' && modern) {
    answer(id, { supportedVersions: ['2026-07-28'], capabilities });
  } else if (method === 'subscriptions/listen' && modern) {
    listens.add(id);
    send({
      method: 'notifications/subscriptions/acknowledged',
      params: { notifications: { toolsListChanged: true }, _meta: { [`${META}subscriptionId`]: id } },
    });
  } else if (method === 'tools/list') answer(id, { tools: JSON.parse(readFileSync(file, 'utf8')) });
  else if (method === 'tools/call') answer(id, { content: [{ type: 'text', text: String(params.name) }] });
  else send({ id, error: { code: -32601, message: method } });
}

watchFile(file, { interval: LOOK_EVERY_MS }, changed);
const input = createInterface({ input: process.stdin });
input.on('line', (line) => handle(JSON.parse(line) as Request));
input.on('close', () => process.exit());
