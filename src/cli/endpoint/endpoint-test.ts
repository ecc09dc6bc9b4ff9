import { isObject, type JsonObject } from '../../protocol/jsonrpc.ts';
import { Exit, type ExitCode } from '../exit.ts';
import { cleanLine } from '../terminal.ts';
import { Endpoint, type ListedTool, type WantedProtocol } from './endpoint.ts';
import { EndpointFault } from './endpoint-fault.ts';
import { type HttpTarget, probeStatus } from './http-exchange.ts';

export type EndpointQuestions = {
  protocol: WantedProtocol;
  health: boolean;
  expectTools: readonly string[];
  call: { tool: string; args: JsonObject } | undefined;
};

export type Check = {
  check: 'health' | 'connect' | 'tools' | 'expect-tools' | 'call';
  status: 'pass' | 'fail' | 'skipped';
  message: string;
  durationMs: number;
};

/** What `test mcp -o json` prints. */
export type EndpointReport = {
  url: string;
  ok: boolean;
  exitCode: ExitCode;
  protocol?: { era: string; revision: string; transport: string };
  server?: { name: string; version: string };
  tools?: string[];
  /** The result of `--tool`, as the endpoint gave it. */
  result?: JsonObject;
  checks: Check[];
};

/** Asks an endpoint every question in turn and stops at the first that fails. Never throws for the endpoint's faults. */
export async function testEndpoint(
  target: HttpTarget,
  questions: EndpointQuestions,
): Promise<EndpointReport> {
  const report: EndpointReport = { url: target.url.href, ok: false, exitCode: Exit.ok, checks: [] };
  let endpoint: Endpoint | undefined;
  try {
    await run(report, 'health', () => checkHealth(target, questions.health));
    await run(report, 'connect', async () => {
      endpoint = await Endpoint.open(target, questions.protocol);
      return describeOpening(report, endpoint);
    });
    if (endpoint) await askForTools(report, endpoint, questions);
  } catch (error) {
    if (!(error instanceof EndpointFault)) throw error;
  }
  await endpoint?.close();
  report.ok = report.exitCode === Exit.ok;
  return report;
}

type Outcome = { status: 'pass' | 'skipped'; message: string };
const pass = (message: string): Outcome => ({ status: 'pass', message });

async function run(
  report: EndpointReport,
  check: Check['check'],
  ask: () => Promise<Outcome>,
): Promise<void> {
  const startedAt = performance.now();
  const record = (outcome: Pick<Check, 'status' | 'message'>) =>
    report.checks.push({ check, ...outcome, durationMs: Math.round(performance.now() - startedAt) });
  try {
    record(await ask());
  } catch (error) {
    if (!(error instanceof EndpointFault)) throw error;
    record({ status: 'fail', message: error.message });
    report.exitCode = error.kind === 'contract' ? Exit.contract : Exit.failed;
    throw error;
  }
}

async function checkHealth(target: HttpTarget, wanted: boolean): Promise<Outcome> {
  if (!wanted) return { status: 'skipped', message: 'not asked (--no-health)' };
  const url = new URL('/healthz', target.url);
  const status = await probeStatus(url, target.deadline);
  if (status >= 200 && status < 300) return pass(`${url.href} answers ${status}`);
  if (status >= 500) {
    throw new EndpointFault(
      'transport',
      `${url.href} answers HTTP ${status}; --no-health leaves this check out`,
      status,
    );
  }
  return { status: 'skipped', message: `no health page at ${url.href} (HTTP ${status})` };
}

async function askForTools(
  report: EndpointReport,
  endpoint: Endpoint,
  questions: EndpointQuestions,
): Promise<void> {
  let tools: ListedTool[] = [];
  await run(report, 'tools', async () => {
    try {
      tools = await endpoint.listTools();
    } catch (error) {
      const declared = isObject(endpoint.opening.capabilities.tools);
      if (declared || !(error instanceof EndpointFault) || error.kind !== 'contract') throw error;
      return { status: 'skipped', message: 'the endpoint declares no tools' };
    }
    report.tools = tools.map((tool) => tool.name);
    return pass(`${tools.length} ${tools.length === 1 ? 'tool' : 'tools'}`);
  });
  if (questions.expectTools.length > 0) {
    await run(report, 'expect-tools', async () => checkExpected(tools, questions.expectTools));
  }
  const { call } = questions;
  if (call) {
    await run(report, 'call', async () => {
      const tool = tools.find((one) => one.name === call.tool);
      if (!tool) throw missing([call.tool], tools);
      const result = await endpoint.callTool(tool, call.args);
      report.result = result;
      if (result.isError === true)
        throw new EndpointFault('contract', `${call.tool} answers isError: ${textOf(result)}`);
      return pass(`${call.tool}: ${textOf(result)}`);
    });
  }
}

function describeOpening(report: EndpointReport, endpoint: Endpoint): Outcome {
  const { era, revision, transport, server } = endpoint.opening;
  report.protocol = { era, revision, transport };
  if (server) report.server = server;
  const over = transport === 'http+sse' ? ', HTTP+SSE' : '';
  return pass(
    `${server ? `${server.name} ${server.version}`.trim() : 'a server'} speaks ${revision} (${era}${over})`,
  );
}

function checkExpected(tools: readonly ListedTool[], expected: readonly string[]): Outcome {
  const absent = expected.filter((name) => !tools.some((tool) => tool.name === name));
  if (absent.length > 0) throw missing(absent, tools);
  return pass(`all ${expected.length} listed`);
}

function missing(names: readonly string[], tools: readonly ListedTool[]): EndpointFault {
  const listed = tools.slice(0, 10).map((tool) => cleanLine(tool.name, 130));
  const more = tools.length > listed.length ? ` and ${tools.length - listed.length} more` : '';
  const has = listed.length > 0 ? `; listed are ${listed.join(', ')}${more}` : '; no tool is listed';
  return new EndpointFault('contract', `no such tool: ${names.join(', ')}${has}`);
}

/** The text of a tool result on one line. */
function textOf(result: JsonObject): string {
  const content = Array.isArray(result.content) ? result.content : [];
  const texts = content.map((block) => (isObject(block) && typeof block.text === 'string' ? block.text : ''));
  const text = cleanLine(texts.join(' '), 200);
  return text || `${content.length} content ${content.length === 1 ? 'block' : 'blocks'}`;
}
