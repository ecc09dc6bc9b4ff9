import type { Command } from 'commander';
import { checkLine } from '../checks.ts';
import type { WantedProtocol } from '../endpoint/endpoint.ts';
import { type EndpointReport, testEndpoint } from '../endpoint/endpoint-test.ts';
import { usage } from '../exit.ts';
import { usableToken } from '../given-token.ts';
import { toolArguments } from '../json-arguments.ts';
import { nameList, oneOf, secondsAsMs } from '../options.ts';
import { readStdin } from '../stdin.ts';
import { cleanForTerminal, type Terminal } from '../terminal.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = {
  token?: string;
  tool?: string;
  args?: string;
  expectTools?: string[];
  timeout?: number;
  protocol: WantedProtocol;
  output: 'text' | 'json';
  health: boolean;
};

const DEFAULT_TIMEOUT_MS = 30_000;
const EXAMPLES = `
Exit codes: 0 all passed; 1 not reached, or not authorized; 2 it answers, but not as asked (a tool is missing, a call
says isError); 64 a wrong flag.

Examples:
  CASTELLAN_TOKEN=cst_pat_… castellan test mcp http://127.0.0.1:7400/projects/demo/mcp
  castellan test mcp https://example.com/mcp --expect-tools search,fetch -o json
  castellan test mcp http://127.0.0.1:3001/mcp --tool echo --args '{"message":"hello"}' --protocol legacy`;

export function defineTest(program: Command, context: VerbContext): void {
  const test = program.command('test').description('Test things from outside.');
  test
    .command('mcp')
    .description(
      'Test any MCP endpoint over HTTP, Castellan or not: reach it, agree on a protocol, list, call.',
    )
    .argument('<url>', 'the URL of the endpoint, such as http://127.0.0.1:7400/projects/demo/mcp')
    .option('--token <token>', 'bearer token; "-" reads it from stdin (default: $CASTELLAN_TOKEN)')
    .option('--tool <name>', 'call this tool')
    .option('--args <json>', 'its arguments, a JSON object; "-" reads them from stdin (default: {})')
    .option('--expect-tools <names>', 'names that must be listed, separated by commas', nameList)
    .option('--timeout <seconds>', 'limit for the whole test (default: 30)', secondsAsMs(3600))
    .addOption(oneOf('--protocol <era>', 'which era to speak', ['auto', 'legacy', 'modern'], 'auto'))
    .addOption(oneOf('-o, --output <format>', 'how to print the report', ['text', 'json'], 'text'))
    .option('--no-health', 'leave out the look at /healthz')
    .showHelpAfterError('Run `castellan test mcp --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((url: string, flags: Flags) => run(url, flags, context));
}

async function run(rawUrl: string, flags: Flags, context: VerbContext): Promise<void> {
  const { terminal, env } = context;
  const url = endpointUrl(rawUrl);
  if (flags.args !== undefined && flags.tool === undefined) {
    throw usage('--args needs --tool NAME: it holds the arguments of that tool');
  }
  if (flags.args === '-' && flags.token === '-') {
    throw usage('--args - and --token - both read stdin; set CASTELLAN_TOKEN instead of --token -');
  }
  const args = await toolArguments(flags.args, '--args', `--args '{"key":"value"}'`);
  const call = flags.tool === undefined ? undefined : { tool: flags.tool, args };
  const token = await bearerToken(flags.token, env.CASTELLAN_TOKEN, terminal);
  if (token !== undefined && url.protocol === 'http:' && !isLoopback(url.hostname)) {
    terminal.warn(`the token travels unencrypted to ${url.host}; use https`);
  }
  const timeoutMs = flags.timeout ?? DEFAULT_TIMEOUT_MS;
  const deadline = { signal: AbortSignal.timeout(timeoutMs), timeoutMs };
  const report = await testEndpoint(
    { url, token, deadline },
    { protocol: flags.protocol, health: flags.health, expectTools: flags.expectTools ?? [], call },
  );
  if (flags.output === 'json') terminal.data(JSON.stringify(report, null, 2));
  else printReport(report, terminal);
  const fault = report.checks.find((check) => check.status === 'fail');
  if (fault) terminal.error(`${report.url}: ${fault.check}: ${fault.message}`);
  context.finish(report.exitCode);
}

function endpointUrl(text: string): URL {
  const url = URL.parse(text);
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw usage(
      `the URL "${text}" is not an http:// or https:// URL, such as http://127.0.0.1:7400/projects/demo/mcp`,
    );
  }
  if (url.username || url.password) {
    throw usage('the URL carries a user or password; pass a token in CASTELLAN_TOKEN instead');
  }
  url.hash = '';
  return url;
}

function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
}

async function bearerToken(
  flag: string | undefined,
  fromEnv: string | undefined,
  terminal: Terminal,
): Promise<string | undefined> {
  const [source, raw] =
    flag === undefined ? ['CASTELLAN_TOKEN', fromEnv] : ['--token', flag === '-' ? await readStdin() : flag];
  if (flag !== undefined && flag !== '-') {
    terminal.warn(
      '--token shows the token to everyone who lists processes; prefer CASTELLAN_TOKEN or --token -',
    );
  }
  return flag === undefined && !raw?.trim() ? undefined : usableToken(raw, source ?? '');
}

function printReport(report: EndpointReport, terminal: Terminal): void {
  for (const { durationMs, ...check } of report.checks) {
    const time = check.status === 'skipped' ? '' : terminal.styled('dim', ` (${durationMs} ms)`);
    terminal.styledLine(`${checkLine(check, terminal)}${time}`);
  }
  if (report.ok) terminal.styledLine(`${terminal.styled('green', 'PASS')} ${cleanForTerminal(report.url)}`);
}
