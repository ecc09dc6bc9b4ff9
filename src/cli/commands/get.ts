import type { Command } from 'commander';
import type { RecordedEvent } from '../../audit/row.ts';
import type { ToolView } from '../../http/api/live.ts';
import { CommandFailure, Exit } from '../exit.ts';
import { oneOf } from '../options.ts';
import { type OutputFormat, printItem, printItems, withOutput } from '../output.ts';
import { type AnyObject, auditPrinting, printingOf, toolPrinting } from '../printings.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { projectOf, type StoredKind, targetOf, withProject } from '../targets.ts';
import { cleanLine } from '../terminal.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = ServerFlags & {
  project?: string;
  output: OutputFormat;
  surface: 'consumer' | 'operator' | 'all';
};

const EXAMPLES = `
Kinds: servers (srv), projects (proj), mcptokens (token), tools, auditevents. Singular, plural and alias all work, and so does an
id in place of a name.

Examples:
  castellan get servers -o wide
  castellan get server github -o yaml
  castellan get mcptokens -p demo
  castellan get tools -p demo --surface consumer`;

export function defineGet(program: Command, context: VerbContext): void {
  const get = program
    .command('get')
    .description('List resources, or print those named.')
    .argument('<kind>', 'servers, projects, mcptokens or tools; KIND/NAME works too')
    .argument('[names...]', 'only these');
  withServer(withOutput(withProject(get)))
    .addOption(
      oneOf('--surface <surface>', 'tools only: which surface', ['consumer', 'operator', 'all'], 'all'),
    )
    .showHelpAfterError('Run `castellan get --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((word: string, names: string[], flags: Flags) => run(word, names, flags, context));
}

async function run(word: string, names: string[], flags: Flags, context: VerbContext): Promise<void> {
  const [kind = '', id] = word.split('/', 2);
  if (/^auditevents?$/i.test(kind))
    return getEvents(id === undefined ? names : [id, ...names], flags, context);
  const target = targetOf(word, names);
  const client = await ServerClient.connect(flags, context);
  if (target.kind === 'tools') return getTools(client, target.names, flags, context);
  return getObjects(client, target.kind, target.names, flags, context);
}

async function getObjects(
  client: ServerClient,
  kind: StoredKind,
  names: readonly string[],
  flags: Flags,
  { terminal }: VerbContext,
): Promise<void> {
  const query = kind.kind === 'McpToken' ? { project: flags.project } : {};
  const printing = printingOf(kind.kind);
  if (names.length === 0) {
    const { items } = await client.get(kind.plural, query);
    return printItems(terminal, flags.output, items as AnyObject[], printing);
  }
  const objects: AnyObject[] = [];
  for (const name of names) {
    objects.push(
      (await client.get(`${kind.plural}/${encodeURIComponent(name)}`, query)) as unknown as AnyObject,
    );
  }
  const [only] = objects;
  if (only && objects.length === 1) printItem(terminal, flags.output, only, printing);
  else printItems(terminal, flags.output, objects, printing);
}

async function getEvents(ids: readonly string[], flags: Flags, context: VerbContext): Promise<void> {
  const { terminal } = context;
  const client = await ServerClient.connect(flags, context);
  const query = { project: flags.project };
  if (ids.length === 0) {
    const { items } = await client.get('auditevents', query);
    return printItems(terminal, flags.output, (items as RecordedEvent[]).reverse(), auditPrinting);
  }
  const events: RecordedEvent[] = [];
  for (const id of ids) {
    events.push(
      (await client.get(`auditevents/${encodeURIComponent(id)}`, query)) as unknown as RecordedEvent,
    );
  }
  const [only] = events;
  if (only && events.length === 1) printItem(terminal, flags.output, only, auditPrinting);
  else printItems(terminal, flags.output, events, auditPrinting);
}

async function getTools(
  client: ServerClient,
  names: readonly string[],
  flags: Flags,
  context: VerbContext,
): Promise<void> {
  const { terminal } = context;
  const project = await projectOf(flags.project, client, context);
  const surface = flags.surface === 'all' ? undefined : flags.surface;
  const list = await client.get(`projects/${encodeURIComponent(project)}/tools`, { surface });
  const all = list.items as ToolView[];
  const items = names.length === 0 ? all : all.filter((tool) => names.some((name) => isNamed(tool, name)));
  const degraded = (list.degraded ?? []) as { server: string; reason: string }[];
  const absent = names.filter((name) => !all.some((tool) => isNamed(tool, name)));
  printItems(terminal, flags.output, items, toolPrinting, {
    degraded,
    ...(list.note ? { note: list.note } : {}),
  });
  for (const { server, reason } of degraded) terminal.warn(`${server}: ${cleanLine(reason)}`);
  if (list.note) terminal.note(cleanLine(String(list.note)));
  if (absent.length > 0) {
    throw new CommandFailure(Exit.failed, `no such tool in project ${project}: ${absent.join(', ')}`);
  }
}

function isNamed(tool: ToolView, name: string): boolean {
  return tool.canonical === name || tool.name === name;
}
