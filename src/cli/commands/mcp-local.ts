import { CommandFailure, Exit, failed, usage } from '../exit.ts';
import { connectLocally } from '../local/local-connection.ts';
import { localStandings } from '../local/local-logins.ts';
import { type LocalServer, localServer, readLocalServers, untrustedText } from '../local/local-servers.ts';
import { type OutputFormat, type Printing, printItems } from '../output.ts';
import { targetText, typeText } from '../printings.ts';
import { cleanForTerminal } from '../terminal.ts';
import type { VerbContext } from '../verbs.ts';
import { connectedText, type ListedServer, printServers } from './mcp-servers.ts';

export type LocalFlags = { local?: boolean; config?: string[] };

const CONNECT_TIMEOUT_MS = 60_000;

/** The servers of the files, a broken one with its reason. */
export async function listLocally(
  flags: LocalFlags & { output?: OutputFormat; resolve?: boolean },
  context: VerbContext,
): Promise<void> {
  const { servers, faults } = await readLocalServers(flags.config, context);
  const items = servers.map(({ name, spec, resolved, file, entry }): ListedServer => {
    const shown = (flags.resolve ? resolved : spec) as Record<string, unknown>;
    return {
      name,
      spec: shown,
      managedBy: `file:${file}`,
      ...(entry.error !== undefined && { error: entry.error }),
    };
  });
  printServers(items, flags, context);
  tellFaults(faults, context);
}

/** What could be connected to from here; nothing is dialled. */
export async function showLocally(
  flags: LocalFlags & { output: OutputFormat },
  context: VerbContext,
): Promise<void> {
  const { servers, faults } = await readLocalServers(flags.config, context);
  const standings = await localStandings(servers, context.env);
  const items = servers.map((server) => statusOf(server, standings.get(server.entry.uid)));
  printItems(context.terminal, flags.output, items, statusPrinting);
  for (const { name, login } of items)
    if (login === 'signing in')
      context.terminal.warn(
        cleanForTerminal(`a sign-in for ${name} waits: castellan mcp login ${name} --local --resume`),
      );
  tellFaults(faults, context);
}

/** Starts or dials one server, says how it went, and ends it again. */
export async function connectHere(
  name: string,
  flags: LocalFlags & { output: string },
  context: VerbContext,
): Promise<void> {
  const { terminal } = context;
  const server = localServer(await readLocalServers(flags.config, context), name);
  if (server.entry.error !== undefined) throw failed(`${name}: ${server.entry.error}`);
  const untrusted = untrustedText(server);
  if (untrusted !== undefined) throw new CommandFailure(Exit.notPermitted, untrusted);
  const startedAt = performance.now();
  const status = await connectLocally(server, CONNECT_TIMEOUT_MS, context);
  if (flags.output === 'json') terminal.data(JSON.stringify(status, null, 2));
  else terminal.line(connectedText({ ...status, protocol: status.revision }, performance.now() - startedAt));
}

/** Records that this user has read the entry of a server and lets it run. */
export async function trustServer(name: string, flags: LocalFlags, context: VerbContext): Promise<void> {
  const { terminal } = context;
  const all = await readLocalServers(flags.config, context);
  const server = localServer(all, name);
  const { file, spec, trust } = server;
  if (trust === 'own')
    throw usage(`${name} of ${file} needs no trust: it is yours, or starts nothing and gives nothing away`);
  await all.trusted.trust(file, name, spec);
  terminal.line(`${name} of ${file} is trusted as it is now:`);
  for (const [field, value] of Object.entries(spec))
    terminal.line(
      cleanForTerminal(`  ${field}: ${typeof value === 'string' ? value : JSON.stringify(value)}`),
    );
}

type LocalStatus = {
  name: string;
  state: 'ready' | 'broken' | 'untrusted' | 'changed';
  type: string;
  target: string;
  file: string;
  login?: string;
  lastError?: string;
};

function statusOf(server: LocalServer, login: string | undefined): LocalStatus {
  const { name, spec, file, trust, entry } = server;
  const about = { name, type: typeText(spec), target: targetText(spec), file, ...(login && { login }) };
  if (entry.error !== undefined) return { ...about, state: 'broken', lastError: entry.error };
  if (trust === 'own' || trust === 'trusted') return { ...about, state: 'ready' };
  return { ...about, state: trust, lastError: untrustedText(server)! };
}

const statusPrinting: Printing<LocalStatus> = {
  columns: [
    { title: 'NAME', value: ({ name }) => name },
    { title: 'STATE', value: ({ state }) => state },
    { title: 'TYPE', value: ({ type }) => type },
    { title: 'TARGET', value: ({ target }) => target },
    { title: 'LOGIN', value: ({ login }) => login },
    { title: 'FILE', value: ({ file }) => file },
    { title: 'LAST-ERROR', value: ({ lastError }) => lastError },
  ],
  nameOf: ({ name }) => `server/${name}`,
  none: 'no servers: looked at mcp.json and mcp.yaml of your configuration, and at .mcp.json and castellan.yaml here',
};

function tellFaults(faults: readonly string[], { terminal, finish }: VerbContext): void {
  for (const fault of faults) terminal.error(fault);
  if (faults.length > 0) finish(Exit.failed);
}
