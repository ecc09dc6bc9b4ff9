import type { Command } from 'commander';
import type { AuditPage } from '../../audit/query.ts';
import type { RecordedEvent } from '../../audit/row.ts';
import type { VerifyReport } from '../../audit/verify.ts';
import { endOfEvents, followEvents } from '../event-watch.ts';
import { failed, usage } from '../exit.ts';
import { type OutputFormat, printItems, withOutput } from '../output.ts';
import { auditPrinting } from '../printings.ts';
import { ServerClient, type ServerFlags, withAccess, withServer } from '../server-client.ts';
import { cleanLine } from '../terminal.ts';
import type { VerbContext } from '../verbs.ts';

/** Filters by the name of their flag; each is the name of the parameter too. */
const FILTERS: readonly [flag: string, about: string][] = [
  ['user', 'e-mail of the user'],
  ['token', 'name of the token'],
  ['token-sha', 'SHA-256 of the token'],
  ['project', 'the project'],
  ['surface', 'consumer or operator'],
  ['tool', 'canonical name, such as github__get_issue; may end in *'],
  ['event', 'such as tool.call; may end in *'],
  ['outcome', 'allowed, ok, tool_error, error, input_required, refused or told'],
  ['target', 'what was changed, such as Server/github'],
  ['trace', 'trace id'],
  ['address', 'where it came from'],
];

type Flags = Omit<ServerFlags, 'server'> & {
  server?: string | string[];
  output: OutputFormat;
  since?: string;
  until?: string;
  limit?: string;
  watch?: boolean;
} & { [filter: string]: unknown };

const PAGE = 1_000;

const EXAMPLES = `
Examples:
  castellan audit query --since 1h --tool 'github__*' --outcome refused
  castellan audit query --token laptop -o json
  castellan audit query --watch
  castellan audit verify
  castellan audit export --since 2026-11-01 --until 2026-12-01 > november.jsonl`;

export function defineAudit(program: Command, context: VerbContext): void {
  const audit = program
    .command('audit')
    .description('Ask the audit what happened, and whether anybody rewrote it.')
    .addHelpText('after', EXAMPLES);

  const query = audit.command('query').description('Print events, the newest last.');
  withFilters(withOutput(query))
    .option('--limit <count>', 'how many, the newest (default: 100)')
    .option('-w, --watch', 'then go on with each new event until it is stopped')
    .showHelpAfterError('Run `castellan audit query --help` for its options.')
    .action((flags: Flags) => runQuery(flags, context));

  const verify = audit
    .command('verify')
    .description('Read every row and check that none was changed, removed, moved or cut off.');
  withServer(withOutput(verify))
    .showHelpAfterError('Run `castellan audit verify --help` for its options.')
    .action((flags: ServerFlags & { output: OutputFormat }) => runVerify(flags, context));

  const exported = audit.command('export').description('Print events as JSON lines, the oldest first.');
  withFilters(exported)
    .showHelpAfterError('Run `castellan audit export --help` for its options.')
    .action((flags: Flags) => runExport(flags, context));
}

function withFilters(command: Command): Command {
  for (const [flag, about] of FILTERS) {
    command.option(flag === 'project' ? `-p, --${flag} <${flag}>` : `--${flag} <${flag}>`, about);
  }
  return withAccess(command)
    .option('--server <name or url>', 'the server that was called; a URL is the Castellan to ask', collect)
    .option('--since <time>', 'how long ago (1h, 7d), or an ISO 8601 time')
    .option('--until <time>', 'the same; what happened then is left out');
}

function wanted(flags: Flags): Record<string, string> {
  const names = [...FILTERS.map(([flag]) => camel(flag)), 'since', 'until'];
  const given = names.flatMap((name) => (typeof flags[name] === 'string' ? [[name, flags[name]]] : []));
  const [server, another] = serversOf(flags).filter((one) => !isUrl(one));
  if (another !== undefined) throw usage(`--server names ${server} and ${another}: give one`);
  return { ...Object.fromEntries(given), ...(server === undefined ? {} : { server }) };
}

/** `--server` is a name where events are asked for, and everywhere the server to talk to: a URL tells them apart. */
const isUrl = (text: string): boolean => text.includes('://');

const collect = (value: string, earlier: string[] | undefined): string[] => [...(earlier ?? []), value];

const serversOf = ({ server }: Flags): string[] => [server ?? []].flat();

function connect(flags: Flags, context: VerbContext): Promise<ServerClient> {
  const server = serversOf(flags).find(isUrl);
  return ServerClient.connect({ ...flags, server } as ServerFlags, context);
}

const camel = (flag: string): string => flag.replace(/-(.)/, (_, letter: string) => letter.toUpperCase());

async function runQuery(flags: Flags, context: VerbContext): Promise<void> {
  const { terminal } = context;
  const limit = limitOf(flags.limit ?? '100');
  const client = await connect(flags, context);
  const query = wanted(flags);
  const { until: _, since: __, ...filter } = query;
  // The end is taken first, so that nothing falls between the page and what is watched.
  const end = flags.watch ? await endOfEvents(client, filter) : undefined;
  const items: RecordedEvent[] = [];
  for (let cursor: string | undefined; items.length < limit; ) {
    const size = String(Math.min(PAGE, limit - items.length));
    const page = (await client.get('audit', { ...query, limit: size, cursor })) as unknown as AuditPage;
    items.push(...page.items);
    cursor = page.next;
    if (cursor === undefined) break;
  }
  printItems(terminal, flags.output, items.reverse(), auditPrinting);
  if (end !== undefined) await followEvents(client, filter, end, flags.output, terminal);
}

async function runVerify(flags: ServerFlags & { output: OutputFormat }, context: VerbContext): Promise<void> {
  const { terminal } = context;
  const client = await ServerClient.connect(flags, context);
  const report = (await client.get('audit/verify')) as unknown as VerifyReport;
  const { ok, chains, rows, findings, more } = report;
  if (flags.output === 'json') terminal.data(JSON.stringify(report, null, 2));
  else {
    for (const { ordinal, sequence, id, problem } of findings) {
      const chain = ordinal === undefined ? '' : `chain ${ordinal}, `;
      const place = sequence === undefined ? '' : `row ${sequence}${id === undefined ? '' : ` (${id})`}: `;
      terminal.line(cleanLine(`${chain}${place}${problem}`, 400));
    }
    if (more > 0) terminal.line(`and ${more} more`);
    if (ok) terminal.line(`${rows} rows in ${chains} chains are as they were written`);
  }
  if (!ok) throw failed(`the audit was tampered with, or damaged: ${findings.length + more} findings`);
}

async function runExport(flags: Flags, context: VerbContext): Promise<void> {
  const client = await connect(flags, context);
  const query = { ...wanted(flags), order: 'oldest', limit: String(PAGE) };
  for (let cursor: string | undefined; ; ) {
    const page = (await client.get('audit', { ...query, cursor })) as unknown as AuditPage;
    for (const item of page.items) context.terminal.data(JSON.stringify(item));
    cursor = page.next;
    if (cursor === undefined) return;
  }
}

function limitOf(text: string): number {
  const limit = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (limit >= 1) return limit;
  throw usage(`--limit "${text}" is no number of events: give one from 1 on`);
}
