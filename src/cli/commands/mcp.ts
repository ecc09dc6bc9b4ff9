import type { Command } from 'commander';
import type { FreezeObject } from '../../http/api/freeze-routes.ts';
import type { ServerStatus } from '../../http/api/live.ts';
import { Exit, failed, usage } from '../exit.ts';
import { oneOf, repeated } from '../options.ts';
import { type OutputFormat, printItems, withOutput } from '../output.ts';
import { statusPrinting } from '../printings.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { cleanLine } from '../terminal.ts';
import type { VerbContext } from '../verbs.ts';
import type { LocalFlags } from './mcp-local.ts';
import type { LoginFlags } from './mcp-login.ts';
import { connectedText, type ListedServer, printServers } from './mcp-servers.ts';

type Flags = ServerFlags & LocalFlags;
type ListFlags = Flags & { output?: OutputFormat; resolve?: boolean };
type TextFlags = Flags & { output: 'text' | 'json' };

const EXAMPLES = `
With --local no Castellan has to run: the servers are those of mcp.json and mcp.yaml in ~/.config/castellan, and of
.mcp.json and castellan.yaml in this folder, or of the files that --config names. A file of a project starts no process
and is told no variable before \`mcp trust\` has recorded the entry as it is written.

Examples:
  castellan mcp list --resolve
  castellan mcp status
  castellan mcp login github && castellan mcp connect github
  castellan mcp doctor
  castellan mcp list --local
  castellan mcp trust github && castellan mcp connect github --local`;

export function defineMcp(program: Command, context: VerbContext): void {
  const mcp = program
    .command('mcp')
    .description('Upstream MCP servers: what is configured, what runs.')
    .addHelpText('after', EXAMPLES);
  const here = () => import('./mcp-local.ts');
  const verb = (name: string, description: string) =>
    mcp
      .command(name)
      .description(description)
      .showHelpAfterError(`Run \`castellan mcp ${name} --help\` for its options.`);

  const list = verb(
    'list',
    'List the servers as they are configured, a broken one with its reason. Placeholders stay as written.',
  ).option(
    '--resolve',
    'substitute environment variables, never secrets; prints JSON unless -o says otherwise',
  );
  withServer(withLocal(withOutput(list, null))).action(async (flags: ListFlags) =>
    isLocal(flags) ? (await here()).listLocally(flags, context) : listServers(flags, context),
  );
  const status = verb('status', 'Show the state of every server, from memory.');
  withServer(withLocal(withOutput(status))).action(async (flags: Flags & { output: OutputFormat }) =>
    isLocal(flags) ? (await here()).showLocally(flags, context) : showStatus(flags, context),
  );
  const connect = verb('connect', 'Connect to one server now and say how it went.').argument(
    '<name>',
    'name or id of the server',
  );
  withServer(withLocal(withText(connect))).action(async (name: string, flags: TextFlags) =>
    isLocal(flags) ? (await here()).connectHere(name, flags, context) : connectServer(name, flags, context),
  );
  const login = verb('login', 'Sign in for a server that takes tokens of its authorization server.')
    .argument('<name>', 'name or id of the server')
    .option('--device', 'by a code that you confirm in a browser, on any machine')
    .option('--browser', 'by a browser on this machine, which comes back to a port that waits for it')
    .option(
      '--paste [url]',
      'by the address that your browser came back to; as a value of this option it lands in the history of your shell',
    )
    .option('--resume', 'go on with the sign-in that was begun last');
  withServer(withLocal(login)).action(async (name: string, flags: LoginFlags) =>
    (await import('./mcp-login.ts')).loginTo(name, { ...flags, local: isLocal(flags) }, context),
  );
  const logout = verb('logout', 'Forget what somebody signed in for a server with.').argument(
    '<name>',
    'name or id of the server',
  );
  withServer(withLocal(logout)).action(async (name: string, flags: Flags) =>
    (await import('./mcp-login.ts')).logoutOf(name, { ...flags, local: isLocal(flags) }, context),
  );
  const doctor = verb('doctor', 'Connect to every server and say what is wrong with those that fail.');
  withServer(withLocal(withText(doctor))).action(async (flags: TextFlags) => {
    const local = isLocal(flags);
    const { runMcpDoctor } = await import('./mcp-doctor.ts');
    return runMcpDoctor({ ...flags, local }, context);
  });
  const trust = verb(
    'trust',
    'Let a server of a file of this folder run, as its entry is written now.',
  ).argument('<name>', 'name of the server in the file');
  withLocal(trust).action(async (name: string, flags: LocalFlags) =>
    (await here()).trustServer(name, flags, context),
  );
}

function withLocal(command: Command): Command {
  return command
    .option('--local', 'the servers of your own files and of those in this folder; needs no Castellan')
    .option('-c, --config <file>', 'with --local: of this file instead; may be given again', repeated);
}

function withText(command: Command): Command {
  return command.addOption(oneOf('-o, --output <format>', 'how to print', ['text', 'json'], 'text'));
}

/** Whether it is about files; what says which Castellan to ask is wrong then. */
function isLocal({ local, config, server, context, as }: Flags): boolean {
  if (!local && config !== undefined) throw usage('--config names files for --local: add it');
  if (local && (server ?? context ?? as) !== undefined)
    throw usage('--local asks no Castellan: leave out --server, --context and --as');
  return local === true;
}

async function listServers(flags: ListFlags, context: VerbContext): Promise<void> {
  const client = await ServerClient.connect(flags, context);
  const { items } = await client.get('mcp/servers', { resolve: flags.resolve ? true : undefined });
  printServers(items as ListedServer[], flags, context);
}

async function showStatus(
  flags: ServerFlags & { output: OutputFormat },
  context: VerbContext,
): Promise<void> {
  const client = await ServerClient.connect(flags, context);
  const { items, frozen = [] } = await client.get('mcp/status');
  printItems(context.terminal, flags.output, items as ServerStatus[], statusPrinting, { frozen });
  for (const { name, login } of items as ServerStatus[])
    if (login)
      context.terminal.warn(
        cleanLine(`a sign-in for ${name} waits until ${login.expiresAt}: ${login.command}`),
      );
  for (const { project, since, by, reason } of frozen as FreezeObject[]) {
    const what = project === undefined ? 'all projects are' : `project ${project} is`;
    context.terminal.warn(cleanLine(`${what} frozen since ${since} by ${by}${reason ? `: ${reason}` : ''}`));
  }
}

async function connectServer(
  name: string,
  flags: ServerFlags & { output: string },
  context: VerbContext,
): Promise<void> {
  const { terminal } = context;
  const client = await ServerClient.connect(flags, context);
  const startedAt = performance.now();
  const answer = await client.post(`servers/${encodeURIComponent(name)}/connect`);
  const status = answer as unknown as ServerStatus;
  const connected = status.state === 'connected';
  if (flags.output === 'json') terminal.data(JSON.stringify(status, null, 2));
  else if (connected) terminal.line(connectedText(status, performance.now() - startedAt));
  if (connected) return;
  if (flags.output === 'json') return context.finish(Exit.failed);
  throw failed(`${status.name} is ${status.state}: ${status.lastError ?? 'no reason is known'}`);
}
