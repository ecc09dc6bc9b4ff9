import { once } from 'node:events';
import { type Command, Option } from 'commander';
import { ErrorCode, isObject } from '../../protocol/jsonrpc.ts';
import { LineSplitter } from '../../protocol/lines.ts';
import { parseJson, readText } from '../endpoint/http-exchange.ts';
import { CommandFailure, Exit, failed } from '../exit.ts';
import { Bridge } from '../mcp-serve/bridge.ts';
import { type McpServeFlags, Place } from '../mcp-serve/place.ts';
import { LinkFault, ServerLink } from '../mcp-serve/server-link.ts';
import { repeated } from '../options.ts';
import { withOwnServer } from '../server-client.ts';
import { withProject } from '../targets.ts';
import type { VerbContext } from '../verbs.ts';

const MAX_LINE_BYTES = 16 * 1024 * 1024;
const MAX_REFUSAL_BYTES = 64 * 1024;
const PREFLIGHT_MS = 30_000;
/** A client that closes its side still reads the answers to what it asked before; it kills soon after. */
const DRAIN_MS = 5_000;

const EXAMPLES = `
A client starts this program and speaks MCP with it over stdin and stdout, of 2026-07-28 or with a handshake. It reaches
the server that --server, --context or the current context names, else the one on the data directory. Where none runs
there, one of its own is started, with --config, and ends with the client.

CASTELLAN_TOKEN proves the client. Without it a data directory makes a token that runs the tools of the project and
decides on nothing; a context proves itself.

Exit codes: 0 the client is gone; 64 a wrong flag; 69 the server cannot be reached; 77 not permitted.

Examples:
  castellan mcp-serve -p demo
  castellan mcp-serve --server https://mcp.example.com -p demo --surface operator
  castellan mcp-serve --data-dir ~/.castellan --config ~/castellan.yaml -p home`;

export function defineMcpServe(program: Command, context: VerbContext): void {
  const serve = program
    .command('mcp-serve')
    .description('Serve MCP over stdin and stdout to the client that starts it.')
    .addOption(
      new Option('--surface <surface>', 'which tools of the project')
        .choices(['consumer', 'operator'])
        .default('consumer'),
    )
    .option(
      '-c, --config <file>',
      'for a server of its own: resources, or a plain client file; may be given again',
      repeated,
    );
  withOwnServer(withProject(serve))
    .showHelpAfterError('Run `castellan mcp-serve --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((flags: McpServeFlags) => run(flags, context));
}

async function run(flags: McpServeFlags, context: VerbContext): Promise<void> {
  const { terminal } = context;
  const ending = new Ending(context);
  await using place = await Place.open(flags, context);
  const link = new ServerLink((refused) => place.find(refused), await place.find());
  await preflight(link, place);
  place.settle();
  const bridge = new Bridge({
    link,
    endpoint: place.endpoint,
    project: place.project,
    write,
    note: (text) => terminal.note(text),
  });
  read(bridge, ending);
  if (process.stdin.isTTY) terminal.note('waiting for messages of MCP, one a line; a client would send them');
  const why = await ending.promise;
  process.stdin.pause();
  if (why === 'input') await Promise.race([bridge.drain(DRAIN_MS), ending.sooner]);
  await bridge.end();
  if (why === 'overflow')
    throw failed(`a line of the client is longer than ${MAX_LINE_BYTES / 1024 / 1024} MiB`);
}

/** Asks for nothing, with all that every request needs: who is refused hears it now, and not from the first call. */
async function preflight(link: ServerLink, { endpoint, project }: Place): Promise<void> {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'ping' });
  const headers = { 'content-type': 'application/json' };
  const signal = AbortSignal.timeout(PREFLIGHT_MS);
  const sent = { method: 'POST', headers, body, signal, patient: false } as const;
  const response = await link.send(endpoint, sent).catch((error: unknown) => {
    if (!(error instanceof LinkFault) && !signal.aborted) throw error;
    throw new CommandFailure(Exit.unreachable, `${(error as Error).message}: see castellan doctor`);
  });
  const answer = parseJson(await readText(response, MAX_REFUSAL_BYTES));
  if (response.ok && isObject(answer) && isObject(answer.result)) return;
  const error = isObject(answer) && isObject(answer.error) ? answer.error.message : undefined;
  const said = `project ${project}: ${String(error ?? `HTTP ${response.status} from ${endpoint}`)}`;
  const { status } = response;
  if (status === 401 || status === 403) throw new CommandFailure(Exit.notPermitted, said);
  throw new CommandFailure(status >= 500 ? Exit.unreachable : Exit.failed, said);
}

function read(bridge: Bridge, ending: Ending): void {
  const lines = new LineSplitter(MAX_LINE_BYTES, {
    onLine: (line) => bridge.take(line),
    onOverflow: () => {
      bridge.refuse(null, ErrorCode.parse, 'This line is too long');
      ending.request('overflow');
    },
  });
  process.stdin.on('data', (chunk: Buffer) => lines.push(chunk));
}

async function write(line: string): Promise<void> {
  // Nobody reads any more: that ends the process elsewhere.
  if (!process.stdout.write(`${line}\n`)) await once(process.stdout, 'drain').catch(() => undefined);
}

/** Why it is over. `input`: the client has nothing more to say, but may still read; `overflow`: what it says is no line. */
type Reason = 'input' | 'overflow' | 'output' | 'signal';

/** The end of the client, however it comes; a second signal ends the process at once. */
class Ending {
  readonly promise: Promise<Reason>;
  /** Settles when waiting any longer is of no use. */
  readonly sooner: Promise<void>;
  readonly request: (reason: Reason) => void;

  constructor({ exitNow }: VerbContext) {
    const first = Promise.withResolvers<Reason>();
    const hurry = Promise.withResolvers<void>();
    this.promise = first.promise;
    this.sooner = hurry.promise;
    this.request = (reason) => {
      first.resolve(reason);
      if (reason !== 'input') hurry.resolve();
    };
    let signals = 0;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        signals += 1;
        if (signals > 1) exitNow(Exit.failed);
        this.request('signal');
      });
    }
    // The channel to a launcher that died, even by SIGKILL.
    if (process.connected) process.on('disconnect', () => this.request('signal'));
    for (const event of ['end', 'error'] as const) process.stdin.on(event, () => this.request('input'));
    // Elsewhere a reader that went away ends the process at once; here a session and a server end first.
    process.stdout.removeAllListeners('error');
    process.stdout.on('error', () => this.request('output'));
  }
}
