import { type OutputFormat, type Printing, printItems } from '../output.ts';
import { targetText, typeText } from '../printings.ts';
import { cleanForTerminal, cleanLine } from '../terminal.ts';
import type { VerbContext } from '../verbs.ts';

/** A server as it is configured. */
export type ListedServer = {
  name: string;
  spec: Record<string, unknown> | null;
  managedBy?: string;
  error?: string;
};

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

/** Prints servers as they are configured, a broken one on a line with its reason. */
export function printServers(
  servers: readonly ListedServer[],
  flags: { output?: OutputFormat; resolve?: boolean },
  { terminal }: Pick<VerbContext, 'terminal'>,
): void {
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

export function connectedText(
  { name, protocol, tools }: { name: string; protocol?: string | undefined; tools?: number | undefined },
  ms: number,
): string {
  const listed = tools === undefined ? '' : `, ${tools} tools`;
  return `${name} connected: ${protocol ?? 'built in'}${listed} (${Math.round(ms)} ms)`;
}

function brokenText({ name, error }: ListedServer): string {
  return `${cleanForTerminal(name)}: ${cleanLine(error ?? '')}`;
}
