import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import type { ToolDetail, ToolView } from '../../http/api/live.ts';
import { findingsIn } from '../../pins/suspicious-text.ts';
import { failed, usage } from '../exit.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { isLive, projectOf, targetsOf, withProject } from '../targets.ts';
import { cleanLine } from '../terminal.ts';
import { changeText, type SeenDefinition, waitingOf } from '../tool-text.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = ServerFlags & { project?: string; all?: boolean; yes?: boolean; fingerprint?: string };

const EXAMPLES = `
A tool whose definition is not the accepted one is held back, or listed with a warning, as its project says; so are new
tools in a project with newTools: hold. Shows what is different, asks on a terminal, and accepts exactly that.

Examples:
  castellan get tools -p demo
  castellan accept tool github__search -p demo
  castellan accept tool github__search -p demo --fingerprint 5f2c01d9ab34
  castellan accept tools --all -p demo --yes`;

export function defineAccept(program: Command, context: VerbContext): void {
  const accept = program
    .command('accept')
    .description('Accept the definition of a tool that is new or has changed.')
    .argument('<kind>', 'tool; KIND/NAME works too')
    .argument('[names...]', 'canonical names, or those that agents see');
  withServer(withProject(accept))
    .option('--all', 'every tool of the project that waits')
    .option('--fingerprint <hex>', 'the definition that you have seen, or how it begins: at least 8 digits')
    .option('-y, --yes', 'do not ask')
    .showHelpAfterError('Run `castellan accept --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((word: string, names: string[], flags: Flags) => run(word, names, flags, context));
}

async function run(
  word: string,
  names: readonly string[],
  flags: Flags,
  context: VerbContext,
): Promise<void> {
  const [target, ...more] = targetsOf(word, names);
  if (!target || more.length > 0 || !isLive(target.kind) || target.kind !== 'tools')
    throw usage('only tools are accepted: castellan accept tool NAME');
  if (Boolean(flags.all) === target.names.length > 0) throw usage('name the tools, or write --all');
  if (
    flags.fingerprint !== undefined &&
    (target.names.length !== 1 || !/^[0-9a-f]{8,64}$/.test(flags.fingerprint))
  )
    throw usage('--fingerprint: name one tool, and 8 to 64 digits of the fingerprint that describe shows');
  const asks = !flags.yes && flags.fingerprint === undefined;
  if (asks && !process.stdin.isTTY)
    throw usage('nobody is there to ask: name what you have seen with --fingerprint, or write --yes');
  const client = await ServerClient.connect(flags, context);
  const project = await projectOf(flags.project, client, context);
  const base = `projects/${encodeURIComponent(project)}/tools`;
  const wanted = flags.all ? await waitingIn(client, base) : target.names;
  if (wanted.length === 0) context.terminal.note(`nothing waits in project ${project}`);
  for (const name of wanted)
    await acceptOne(client, `${base}/${encodeURIComponent(name)}`, base, flags, context);
}

async function waitingIn(client: ServerClient, base: string): Promise<string[]> {
  const { items } = await client.get(base);
  return (items as ToolView[]).filter(({ state }) => state !== 'accepted').map(({ canonical }) => canonical);
}

async function acceptOne(
  client: ServerClient,
  path: string,
  base: string,
  flags: Flags,
  { terminal }: VerbContext,
): Promise<void> {
  const tool = (await client.get(path)) as unknown as ToolDetail;
  const name = cleanLine(tool.canonical);
  const seen = definitionMeant(tool, flags.fingerprint);
  if (!seen) {
    terminal.line(`tool/${name} is accepted already`);
    return;
  }
  terminal.line(changeText(tool, seen));
  for (const { kind, at, text } of findingsIn(seen.definition)) terminal.warn(`${at}: ${kind}: ${text}`);
  if (!flags.yes && flags.fingerprint === undefined && !(await agreed(`Accept ${name}? [y/N] `))) {
    terminal.line(`tool/${name} left as it is`);
    return;
  }
  await client.post(`${base}/${encodeURIComponent(tool.canonical)}/accept`, {
    fingerprint: seen.fingerprint,
  });
  terminal.line(`tool/${name} accepted`);
}

function definitionMeant(tool: ToolDetail, fingerprint: string | undefined): SeenDefinition | undefined {
  const waiting = waitingOf(tool);
  if (fingerprint === undefined) {
    const now = waiting.find((one) => one.fingerprint === tool.fingerprint);
    if (now || tool.state === 'accepted') return now;
    throw failed(
      `${cleanLine(tool.canonical)} cannot be accepted: its server lists more tools than are kept`,
    );
  }
  const found = waiting.filter((one) => one.fingerprint.startsWith(fingerprint));
  const [one, ...others] = found;
  if (one && others.length === 0) return one;
  throw failed(
    others.length > 0
      ? `several definitions begin with ${fingerprint}: give more of its digits`
      : `no definition that begins with ${fingerprint} waits: look at it again with castellan describe tool`,
  );
}

async function agreed(question: string): Promise<boolean> {
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await lines.question(question)).trim());
  } finally {
    lines.close();
  }
}
