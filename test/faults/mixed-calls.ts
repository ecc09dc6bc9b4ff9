/**
 * Many sessions under two tokens call, count and are asked at once, with the same ids and progress tokens everywhere,
 * in both eras on both sides. Every answer, report and question must reach the caller that it belongs to.
 *
 *   node test/faults/mixed-calls.ts [CALLS]      default 100000
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { SseParser } from '../../src/protocol/sse.ts';
import { MixingUpstream } from '../support/mixing-upstream.ts';
import { startCastellan } from '../support/running-castellan.ts';

const SESSIONS = 50;
const LANES_PER_SESSION = 2;
const TIME_LIMIT_MS = 600_000;
const META = 'io.modelcontextprotocol/';

type Era = 'legacy' | 'modern';
type Wire = {
  id?: unknown;
  method?: string;
  params?: Record<string, unknown>;
  result?: Record<string, unknown>;
  error?: unknown;
};
type Caller = { url: string; headers: Record<string, string>; era: Era; who: string };

const total = Number(process.argv[2] ?? 100_000);
if (!Number.isInteger(total) || total < 1)
  throw new Error('the number of calls must be a whole number above 0');

let made = 0;
let reports = 0;
let questions = 0;

async function main(): Promise<void> {
  await using legacy = await MixingUpstream.start('legacy');
  await using modern = await MixingUpstream.start('modern');
  const folder = await mkdtemp(path.join(tmpdir(), 'castellan-mixed-'));
  try {
    const file = path.join(folder, 'castellan.yaml');
    await writeFile(file, configOf({ legacy: legacy.url, modern: modern.url }));
    await using castellan = await startCastellan(['--config', file]);
    const tokens = await Promise.all(
      ['one', 'two'].map(async (name) =>
        (await castellan.cli('create', 'mcptoken', name, '-p', 'mix', '--rbac', 'clone')).stdout.trim(),
      ),
    );
    const url = `${castellan.url}/projects/mix/mcp`;
    const started = performance.now();
    const callers = await Promise.all(
      Array.from({ length: SESSIONS }, (_, n) =>
        open(url, tokens[n % 2]!, n % 4 < 2 ? 'legacy' : 'modern', `caller-${n}`),
      ),
    );
    const stop = AbortSignal.timeout(TIME_LIMIT_MS);
    await Promise.all(
      callers.flatMap((caller) =>
        Array.from({ length: LANES_PER_SESSION }, (_, lane) => run(caller, lane, stop)),
      ),
    );
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    process.stdout.write(
      `${made} calls, ${reports} progress reports, ${questions} questions in ${seconds} s: each reached its own caller\n`,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function run(caller: Caller, lane: number, stop: AbortSignal): Promise<void> {
  for (let n = 0; made < total; n += 1) {
    if (stop.aborted) throw new Error(`only ${made} calls within the time limit`);
    made += 1;
    // Tens apart, so that every tool is called on both servers.
    const server = (n + Math.floor(n / 10)) % 2 === 0 ? 'legacy' : 'modern';
    const tool = n % 10 === 9 ? 'ask' : n % 5 === 3 ? 'count' : 'echo';
    await one(caller, `${server}__${tool}`, `${caller.who}-${lane}-${n}`, lane + 1);
  }
}

async function one(caller: Caller, name: string, who: string, id: number): Promise<void> {
  let extra: Record<string, unknown> = {};
  for (let round = 0; round < 3; round += 1) {
    const answer = await request(caller, name, who, id, extra);
    const result = answer.result as {
      resultType?: string;
      content?: { text: string }[];
      inputRequests?: Record<string, never>;
      requestState?: string;
    };
    if (answer.id !== id || !result) throw new Error(`${who} got ${JSON.stringify(answer)}`);
    if (result.resultType === 'input_required') {
      const [key, question] = Object.entries(result.inputRequests ?? {})[0] as [
        string,
        { params: { message: string } },
      ];
      checkQuestion(question.params.message, who);
      extra = {
        inputResponses: { [key]: { action: 'accept', content: { who } } },
        requestState: result.requestState,
      };
      continue;
    }
    if (result.content?.[0]?.text !== who)
      throw new Error(`${who} got the answer of ${JSON.stringify(result.content)}`);
    return;
  }
  throw new Error(`${who} was asked again and again`);
}

/** Sends one call with an id and progress token that every other session uses too; answers what it is asked. */
async function request(caller: Caller, name: string, who: string, id: number, extra: object): Promise<Wire> {
  const modern = caller.era === 'modern';
  const meta = modern
    ? { [`${META}protocolVersion`]: '2026-07-28', [`${META}clientCapabilities`]: { elicitation: {} } }
    : {};
  const params = { name, arguments: { who }, _meta: { ...meta, progressToken: 1 }, ...extra };
  const headers: Record<string, string> = modern
    ? { ...caller.headers, 'mcp-method': 'tools/call', 'mcp-name': name }
    : caller.headers;
  const body = JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params });
  const response = await fetch(caller.url, { method: 'POST', headers, body });
  if (!response.headers.get('content-type')?.startsWith('text/event-stream'))
    return (await response.json()) as Wire;
  let answer: Wire | undefined;
  const parser = new SseParser(1_000_000, ({ data }) => {
    if (data === '') return;
    const message = JSON.parse(data) as Wire;
    if (message.method === 'notifications/progress') checkReport(message, who);
    else if (message.method !== undefined) void reply(caller, message, who);
    else answer = message;
  });
  for await (const chunk of response.body!) parser.push(Buffer.from(chunk));
  return answer ?? {};
}

async function reply(caller: Caller, question: Wire, who: string): Promise<void> {
  checkQuestion(String(question.params?.message), who);
  const body = JSON.stringify({
    jsonrpc: '2.0',
    id: question.id,
    result: { action: 'accept', content: { who } },
  });
  await (await fetch(caller.url, { method: 'POST', headers: caller.headers, body })).arrayBuffer();
}

function checkReport({ params }: Wire, who: string): void {
  reports += 1;
  if (params?.message !== who || params.progressToken !== 1)
    throw new Error(`${who} got the report ${JSON.stringify(params)}`);
}

function checkQuestion(asked: string, who: string): void {
  questions += 1;
  if (asked !== who) throw new Error(`${who} was asked the question of ${asked}`);
}

async function open(url: string, token: string, era: Era, who: string): Promise<Caller> {
  const headers: Record<string, string> = {
    authorization: `Bearer ${token}`,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
  };
  if (era === 'modern')
    return { url, era, who, headers: { ...headers, 'mcp-protocol-version': '2026-07-28' } };
  const params = {
    protocolVersion: '2025-11-25',
    capabilities: { elicitation: {} },
    clientInfo: { name: who, version: '1' },
  };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params });
  const response = await fetch(url, { method: 'POST', headers, body });
  await response.arrayBuffer();
  const session = response.headers.get('mcp-session-id');
  if (!session) throw new Error(`no session for ${who}: ${response.status}`);
  return {
    url,
    era,
    who,
    headers: { ...headers, 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' },
  };
}

function configOf(urls: Record<Era, string>): string {
  const server = (era: Era) => `kind: Server\nmetadata: { name: ${era} }\nspec: { url: "${urls[era]}" }\n`;
  return `${server('legacy')}---\n${server('modern')}---\nkind: Project\nmetadata: { name: mix }\nspec: { servers: [legacy, modern] }\n`;
}

await main();
