import type { Command } from 'commander';
import type { FreezeObject } from '../../http/api/freeze-routes.ts';
import type { ServerStatus } from '../../http/api/live.ts';
import { Exit, failed } from '../exit.ts';
import { oneOf } from '../options.ts';
import { type OutputFormat, type Printing, printItems, withOutput } from '../output.ts';
import { statusPrinting, targetText, typeText } from '../printings.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { cleanForTerminal, cleanLine } from '../terminal.ts';
import type { VerbContext } from '../verbs.ts';

type ListedServer = {
  name: string;
  spec: Record<string, unknown> | null;
  managedBy?: string;
  error?: string;
};
type ListFlags = ServerFlags & { output?: OutputFormat; resolve?: boolean };

export function defineMcp(program: Command, context: VerbContext): void {
  const mcp = program.command('mcp').description('Upstream MCP servers: what is configured, what runs.');
  const list = mcp
    .command('list')
    .description(
      'List the servers as they are configured, a broken one with its reason. Placeholders stay as written.',
    )
    .option(
      '--resolve',
      'substitute environment variables, never secrets; prints JSON unless -o says otherwise',
    );
  withServer(withOutput(list, null))
    .showHelpAfterError('Run `castellan mcp list --help` for its options.')
    .action((flags: ListFlags) => listServers(flags, context));
  const status = mcp.command('status').description('Show the state of every server, from memory.');
  withServer(withOutput(status))
    .showHelpAfterError('Run `castellan mcp status --help` for its options.')
    .action((flags: ServerFlags & { output: OutputFormat }) => showStatus(flags, context));
  const connect = mcp
    .command('connect')
    .description('Connect to one server now and say how it went.')
    .argument('<name>', 'name or id of the server');
  withServer(connect)
    .addOption(oneOf('-o, --output <format>', 'how to print', ['text', 'json'], 'text'))
    .showHelpAfterError('Run `castellan mcp connect --help` for its options.')
    .action((name: string, flags: ServerFlags & { output: string }) => connectServer(name, flags, context));
}

const listPrinting: Printing<ListedServer> = {
  columns: [
    { title: 'NAME', value: (server) => server.name },
    { title: 'TYPE', value: ({ spec }) => (spec ? typeText(spec) : undefined) },
    { title: 'TARGET', value: ({ spec }) => (spec ? targetText(spec) : undefined) },
    { title: 'MANAGED-BY', value: (server) => server.managedBy, wide: true },
  ],
  nameOf: (server) => `server/${server.name}`,
  none: 'no servers',
};

async function listServers(flags: ListFlags, context: VerbContext): Promise<void> {
  const { terminal } = context;
  const client = await ServerClient.connect(flags, context);
  const { items } = await client.get('mcp/servers', { resolve: flags.resolve ? true : undefined });
  const servers = items as ListedServer[];
  const broken = servers.filter((server) => server.error !== undefined);
  const format = flags.output ?? (flags.resolve ? 'json' : 'table');
  if (flags.resolve) terminal.warn('values of environment variables are shown, and they may be secret');
  if (format !== 'table' && format !== 'wide') {
    printItems(terminal, format, servers, listPrinting);
    for (const server of broken) terminal.warn(brokenText(server));
    return;
  }
  const sound = servers.filter((server) => server.error === undefined);
  if (sound.length > 0 || broken.length === 0) printItems(terminal, format, sound, listPrinting);
  for (const server of broken) terminal.styledLine(`${terminal.styled('red', '✗')} ${brokenText(server)}`);
}

function brokenText({ name, error }: ListedServer): string {
  return `${cleanForTerminal(name)}: ${cleanLine(error ?? '')}`;
}

async function showStatus(
  flags: ServerFlags & { output: OutputFormat },
  context: VerbContext,
): Promise<void> {
  const client = await ServerClient.connect(flags, context);
  const { items, frozen = [] } = await client.get('mcp/status');
  printItems(context.terminal, flags.output, items as ServerStatus[], statusPrinting, { frozen });
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
  else if (connected) {
    const tools = status.tools === undefined ? '' : `, ${status.tools} tools`;
    const ms = Math.round(performance.now() - startedAt);
    terminal.line(`${status.name} connected: ${status.protocol ?? 'unknown protocol'}${tools} (${ms} ms)`);
  }
  if (connected) return;
  if (flags.output === 'json') return context.finish(Exit.failed);
  throw failed(`${status.name} is ${status.state}: ${status.lastError ?? 'no reason is known'}`);
}
