import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import type { JsonObject } from '../../protocol/jsonrpc.ts';
import { LINK_KINDS, PRIORITIES, PROPOSALS, STATUSES, type Ticket } from '../../toolsets/tickets/ticket.ts';
import { usage } from '../exit.ts';
import { liveList, livePrinting } from '../live-lists.ts';
import { nameList, oneOf } from '../options.ts';
import { type OutputFormat, printItem, printItems, toYaml, withOutput } from '../output.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { readStdin } from '../stdin.ts';
import { projectOf, withProject } from '../targets.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = ServerFlags & { project?: string; output: OutputFormat; text?: string } & {
  [flag: string]: unknown;
};

const EXAMPLES = `
On a data directory you act in person: what is on hold waits for you, and proposals can be decided.

Examples:
  castellan tickets list -p demo --status pending,in_progress --query 'login timeout'
  castellan tickets get tkt_…
  castellan tickets create "Raise the timeout" -p demo --body-file wish.md --priority P1 --label login
  castellan tickets authorize tkt_… --text "go ahead"
  castellan tickets defer tkt_… --until 2027-01-31T08:00:00Z
  castellan tickets accept tkt_…
  castellan tickets reject tkt_… --text "still slow from the office"`;

/** What is done to one ticket, with its own options; each has --text. */
const ACTS: readonly {
  name: string;
  about: string;
  needsText?: true;
  options?: (verb: Command) => Command;
}[] = [
  { name: 'note', about: 'add a note', needsText: true },
  { name: 'ack', about: 'as a handler: you have it' },
  { name: 'progress', about: 'as a handler: say how it goes', needsText: true },
  { name: 'block', about: 'as a handler: say what blocks it', needsText: true },
  {
    name: 'propose',
    about: 'as a handler: propose how it ends',
    needsText: true,
    options: (verb) => verb.addOption(oneOf('--resolution <how>', 'how it ends', PROPOSALS, 'accepted')),
  },
  { name: 'accept', about: 'accept what is proposed' },
  { name: 'reject', about: 'reject what is proposed, with the reason', needsText: true },
  {
    name: 'cancel',
    about: 'end it without a resolution',
    options: (verb) => verb.option('--superseded', 'another ticket takes its place'),
  },
  { name: 'authorize', about: 'let a ticket on hold go on' },
  {
    name: 'defer',
    about: 'leave a ticket on hold for now',
    options: (verb) => verb.option('--until <time>', 'ISO 8601; said to whoever looks'),
  },
  { name: 'edit', about: 'change what it says', options: withContent },
];

export function defineTickets(program: Command, context: VerbContext): void {
  const tickets = program
    .command('tickets')
    .description('Tickets between agents and people.')
    .addHelpText('after', EXAMPLES);
  defineReading(tickets, context);
  defineMaking(tickets, context);
  for (const { name, about, needsText, options } of ACTS) {
    const verb = ofOne(tickets, name, about);
    if (needsText) verb.requiredOption('--text <markdown>', 'what to say');
    else verb.option('--text <markdown>', 'what to say');
    (options?.(verb) ?? verb).action(async (id: string, flags: Flags) => {
      await act(id, await bodyOf(name, flags), flags, context);
    });
  }
  ofOne(tickets, 'status', 'move it to another status')
    .addOption(new Option('--to <status>', 'the status').choices([...STATUSES]).makeOptionMandatory())
    .option('--text <markdown>', 'the reason; blocked needs one')
    .action((id: string, flags: Flags) =>
      act(id, { act: 'move', status: flags.to, text: flags.text }, flags, context),
    );
}

function defineReading(tickets: Command, context: VerbContext): void {
  const list = tickets.command('list').description('List and search tickets, the newest first.');
  withServer(withOutput(withProject(list)))
    .option('--query <words>', 'whole words that all stand in it; deploy* also finds deployment')
    .option('--status <statuses>', 'one or several, with commas')
    .option('--type <type>', 'such as bug')
    .addOption(new Option('--priority <priority>', 'how urgent').choices([...PRIORITIES]))
    .option('--label <label>', 'one label')
    .option('--mine', 'only those that this credential created')
    .option('--limit <count>', 'how many (default: 20)')
    .option('--cursor <cursor>', 'nextCursor of the page before')
    .showHelpAfterError('Run `castellan tickets list --help` for its options.')
    .action(async (flags: Flags) => {
      const client = await ServerClient.connect(flags, context);
      const filters = ['query', 'status', 'type', 'priority', 'label', 'mine', 'limit', 'cursor'];
      const query = Object.fromEntries(filters.map((name) => [name, flags[name] as string | undefined]));
      const found = await liveList('tickets', client, { ...flags, surface: 'all' }, context, [], query);
      printItems(context.terminal, flags.output, found.items, livePrinting('tickets'), found.extra);
      for (const note of found.notes) context.terminal.note(note);
    });
  const get = tickets
    .command('get')
    .description('Show a ticket with its history.')
    .argument('<id>', 'its id')
    .option('--history-after <seq>', 'lines of the history after this one; -1 begins with the first');
  withServer(get)
    .addOption(oneOf('-o, --output <format>', 'how to print', ['yaml', 'json'], 'yaml'))
    .showHelpAfterError('Run `castellan tickets get --help` for its options.')
    .action(async (id: string, flags: ServerFlags & { output: string; historyAfter?: string }) => {
      const client = await ServerClient.connect(flags, context);
      const ticket = await client.get(pathOf(id), { historyAfter: flags.historyAfter });
      context.terminal.data(flags.output === 'json' ? JSON.stringify(ticket, null, 2) : toYaml(ticket));
    });
}

function defineMaking(tickets: Command, context: VerbContext): void {
  const create = tickets
    .command('create')
    .description('Create a ticket.')
    .argument('<title>', 'one line')
    .option('--hold', 'nothing happens until a person authorizes it')
    .option('--link <kind:id>', `${LINK_KINDS.join(', ')}, such as blocks:tkt_…; again for more`, linkList);
  withServer(withOutput(withProject(withKey(withContent(create, false)))))
    .showHelpAfterError('Run `castellan tickets create --help` for its options.')
    .action(async (title: string, flags: Flags) => {
      const client = await ServerClient.connect(flags, context);
      const project = await projectOf(flags.project, client, context);
      const { link: links, hold = false } = flags;
      const wish = { title, ...(await contentOf(flags)), links, hold, ...keyOf(flags) };
      print(await client.post('tickets', wish, { project }), flags, context);
    });
  const followup = ofOne(tickets, 'followup', 'create a ticket that follows it up').requiredOption(
    '--title <title>',
    'one line',
  );
  withContent(followup, false).action(async (id: string, flags: Flags) => {
    const client = await ServerClient.connect(flags, context);
    const wish = { title: flags.title, ...(await contentOf(flags)), ...keyOf(flags) };
    print(await client.post(`${pathOf(id)}/followups`, wish), flags, context);
  });
}

function ofOne(tickets: Command, name: string, about: string): Command {
  const verb = tickets.command(name).description(about).argument('<id>', 'id of the ticket');
  return withServer(withOutput(withKey(verb))).showHelpAfterError(
    `Run \`castellan tickets ${name} --help\` for its options.`,
  );
}

function withKey(verb: Command): Command {
  return verb.option('--idempotency-key <key>', 'the same again with the same key is done once');
}

function keyOf({ idempotencyKey }: Flags): JsonObject {
  return { idempotency_key: idempotencyKey };
}

function withContent(verb: Command, isEdit = true): Command {
  if (isEdit) verb.option('--title <title>', 'one line');
  return verb
    .option('--body <markdown>', 'what it is about')
    .option('--body-file <file>', 'the same from a file; - is stdin')
    .option('--type <type>', 'a short word such as bug, feature or question')
    .addOption(new Option('--priority <priority>', 'how urgent').choices([...PRIORITIES]))
    .option('--label <labels>', 'one or several, with commas', nameList);
}

function linkList(text: string, earlier: readonly JsonObject[] = []): JsonObject[] {
  const [, kind, id] = /^([a-z_]+):(\S+)$/.exec(text) ?? [];
  if (kind === undefined) throw usage(`--link ${text}: write KIND:ID such as blocks:tkt_…`);
  return [...earlier, { kind, ticket_id: id }];
}

async function contentOf(flags: Flags): Promise<JsonObject> {
  if (flags.body !== undefined && flags.bodyFile !== undefined)
    throw usage('--body and --body-file both say what it is about: leave one out');
  return {
    body: flags.bodyFile === undefined ? flags.body : await bodyFrom(String(flags.bodyFile)),
    ticket_type: flags.type,
    priority: flags.priority,
    labels: flags.label,
  };
}

async function bodyFrom(file: string): Promise<string> {
  if (file === '-') return readStdin();
  return readFile(file, 'utf8').catch((error: Error) => {
    throw usage(`--body-file ${file} cannot be read: ${error.message}`);
  });
}

/** The act that a verb stands for, as the API takes it. */
async function bodyOf(name: string, flags: Flags): Promise<JsonObject> {
  const { text } = flags;
  if (name === 'progress') return { act: 'status', text };
  if (name === 'propose') return { act: name, text, resolution: flags.resolution };
  if (name === 'cancel')
    return { act: name, text, resolution: flags.superseded ? 'superseded' : 'cancelled' };
  if (name === 'defer') return { act: name, text, until: flags.until };
  if (name === 'edit') return { act: name, text, title: flags.title, ...(await contentOf(flags)) };
  return { act: name, text };
}

async function act(id: string, body: JsonObject, flags: Flags, context: VerbContext): Promise<void> {
  const client = await ServerClient.connect(flags, context);
  print(await client.post(`${pathOf(id)}/acts`, { ...body, ...keyOf(flags) }), flags, context);
}

function print(ticket: JsonObject, flags: Flags, { terminal }: VerbContext): void {
  printItem(terminal, flags.output, ticket as Ticket, livePrinting('tickets'));
}

const pathOf = (id: string) => `tickets/${encodeURIComponent(id)}`;
