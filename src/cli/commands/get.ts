import type { Command } from 'commander';
import type { RecordedEvent } from '../../audit/row.ts';
import { endOfEvents, followEvents } from '../event-watch.ts';
import { CommandFailure, Exit, usage } from '../exit.ts';
import { isNamed, type LiveItem, liveList, livePrinting } from '../live-lists.ts';
import { watchList, watchObjects } from '../object-watch.ts';
import { oneOf } from '../options.ts';
import { type OutputFormat, printItem, printItems, withOutput } from '../output.ts';
import { type AnyObject, auditPrinting, printingOf } from '../printings.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import {
  isLive,
  type LiveKind,
  type StoredKind,
  type Target,
  targetsOf,
  withProject,
  withSelector,
} from '../targets.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = ServerFlags & {
  project?: string;
  output: OutputFormat;
  surface: 'consumer' | 'operator' | 'all';
  selector?: string;
  fieldSelector?: string;
  watch?: boolean;
};

const EXAMPLES = `
Kinds: servers (srv), projects (proj), mcptokens (token), users, groups, rbac, policies, secrets, oauthclients, tools,
sessions, grants, approvals, tickets, auditevents.
Singular, plural and alias all work, and so does an id in place of a name.

Examples:
  castellan get servers -o wide
  castellan get servers,projects -l team=red -o yaml > red.yaml
  castellan get projects --field-selector spec.servers=github
  castellan get server/github project/demo
  castellan get mcptokens -p demo --field-selector status.status=active
  castellan get servers -w
  castellan get tools -p demo --surface consumer`;

export function defineGet(program: Command, context: VerbContext): void {
  const get = program
    .command('get')
    .description('List resources, or print those named.')
    .argument('<kind>', 'one kind, or several: servers,projects; KIND/NAME works too')
    .argument('[names...]', 'only these');
  withServer(withOutput(withSelector(withProject(get))))
    .option('-w, --watch', 'then print every change, until it is stopped')
    .option('--field-selector <selector>', 'only those with these fields: spec.isolation=shared')
    .addOption(
      oneOf('--surface <surface>', 'tools only: which surface', ['consumer', 'operator', 'all'], 'all'),
    )
    .showHelpAfterError('Run `castellan get --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((word: string, names: string[], flags: Flags) => run(word, names, flags, context));
}

async function run(word: string, names: string[], flags: Flags, context: VerbContext): Promise<void> {
  const isSelected = flags.selector !== undefined || flags.fieldSelector !== undefined;
  const [kind = '', id] = word.split('/', 2);
  const isEvents = /^auditevents?$/i.test(kind);
  const targets = isEvents ? [] : targetsOf(word, names);
  if (isSelected && (isEvents || targets.some((one) => isLive(one.kind) || one.names.length > 0)))
    throw usage(
      '-l and --field-selector pick among all objects of a kind: leave out names, tools, sessions and events',
    );
  if (isEvents) return getEvents(id === undefined ? names : [id, ...names], flags, context);
  const client = await ServerClient.connect(flags, context);
  const [first] = targets;
  if (flags.watch) return watch(client, targets, flags, context);
  if (first && isLive(first.kind) && targets.length === 1)
    return getLive(client, { kind: first.kind, names: first.names }, flags, context);
  const found: Found[] = [];
  for (const { kind: of, names: named } of targets) {
    if (isLive(of)) throw usage(`${of} are listed alone: castellan get ${of} -p PROJECT`);
    found.push({ kind: of, objects: await objectsOf(client, of, named, flags) });
  }
  const isOne = targets.length === 1 && first?.names.length === 1;
  printObjects(found, isOne, flags.output, context);
}

async function watch(
  client: ServerClient,
  [target, ...more]: readonly Target[],
  flags: Flags,
  context: VerbContext,
): Promise<void> {
  const { selector, fieldSelector, output } = flags;
  const { terminal } = context;
  if (!target || more.length > 0) throw usage('-w watches one kind, such as servers');
  const { kind, names } = target;
  if (names.length > 1) throw usage('-w watches one object, or all of a kind');
  const [name] = names;
  if (isLive(kind)) {
    const printing = livePrinting(kind);
    const list = async () => {
      const { items } = await liveList(kind, client, flags, context);
      return name === undefined ? items : items.filter((item) => isNamed(item, name));
    };
    return watchList(
      list,
      (item) => JSON.stringify([printing.nameOf(item), 'surface' in item && item.surface]),
      printing,
      output,
      terminal,
    );
  }
  if (kind.kind === 'McpToken') {
    const list = async () => {
      const all = await objectsOf(client, kind, [], flags);
      return name === undefined
        ? all
        : all.filter(({ metadata }) => [metadata.name, metadata.uid].includes(name));
    };
    return watchList(list, ({ metadata }) => metadata.uid, printingOf(kind.kind), output, terminal);
  }
  const query = {
    labelSelector: selector,
    fieldSelector: name === undefined ? fieldSelector : `metadata.name=${name}`,
  };
  return watchObjects(client, kind, query, output, terminal);
}

type Found = { kind: StoredKind; objects: AnyObject[] };

async function objectsOf(
  client: ServerClient,
  { kind, plural }: StoredKind,
  names: readonly string[],
  { project, selector, fieldSelector }: Flags,
): Promise<AnyObject[]> {
  const query = kind === 'McpToken' ? { project } : {};
  if (names.length === 0) {
    const { items } = await client.get(plural, { ...query, labelSelector: selector, fieldSelector });
    return items as AnyObject[];
  }
  const objects: AnyObject[] = [];
  for (const name of names) {
    objects.push((await client.get(`${plural}/${encodeURIComponent(name)}`, query)) as unknown as AnyObject);
  }
  return objects;
}

function printObjects(
  found: readonly Found[],
  isOne: boolean,
  output: OutputFormat,
  { terminal }: VerbContext,
): void {
  const all = found.flatMap(({ objects }) => objects);
  if (output === 'json') {
    terminal.data(JSON.stringify(isOne ? all[0] : { items: all }, null, 2));
    return;
  }
  // Applied again, an ended token would be made anew.
  const isShown = (object: AnyObject) =>
    isOne || output !== 'yaml' || object.kind !== 'McpToken' || object.status?.status === 'active';
  const shown = found.map(({ kind, objects }) => ({ kind, objects: objects.filter(isShown) }));
  const hidden = all.length - shown.flatMap(({ objects }) => objects).length;
  const filled = shown.filter(({ objects }) => objects.length > 0);
  for (const [index, { kind, objects }] of (filled.length > 0 ? filled : shown).entries()) {
    if (index > 0 && output === 'yaml') terminal.data('---');
    if (index > 0 && (output === 'table' || output === 'wide')) terminal.data('');
    printItems(terminal, output, objects, printingOf(kind.kind));
  }
  if (hidden > 0) terminal.note(`${hidden} tokens that are revoked or expired are left out`);
}

async function getEvents(ids: readonly string[], flags: Flags, context: VerbContext): Promise<void> {
  const { terminal } = context;
  const client = await ServerClient.connect(flags, context);
  const query = { project: flags.project };
  if (ids.length === 0) {
    // The end is taken first, so that nothing falls between the page and what is watched.
    const end = flags.watch ? await endOfEvents(client, query) : undefined;
    const { items } = await client.get('auditevents', query);
    printItems(terminal, flags.output, (items as RecordedEvent[]).reverse(), auditPrinting);
    return end === undefined ? undefined : followEvents(client, query, end, flags.output, terminal);
  }
  if (flags.watch) throw usage('an event does not change: -w watches all of them');
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

async function getLive(
  client: ServerClient,
  { kind, names }: { kind: LiveKind; names: readonly string[] },
  flags: Flags,
  context: VerbContext,
): Promise<void> {
  const { terminal } = context;
  const { items: all, extra, warnings, notes, place } = await liveList(kind, client, flags, context, names);
  const wanted = (item: LiveItem) => names.length === 0 || names.some((name) => isNamed(item, name));
  const absent = names.filter((name) => !all.some((item) => isNamed(item, name)));
  printItems(terminal, flags.output, all.filter(wanted), livePrinting(kind), extra);
  for (const warning of warnings) terminal.warn(warning);
  for (const note of notes) terminal.note(note);
  if (absent.length > 0)
    throw new CommandFailure(Exit.failed, `no such ${kind.slice(0, -1)} in ${place}: ${absent.join(', ')}`);
}
