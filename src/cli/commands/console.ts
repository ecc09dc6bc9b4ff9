import { constants } from 'node:os';
import type { Command } from 'commander';
import { FILTERS, type Filter, type FilterField } from '../console/filters.ts';
import { usage } from '../exit.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { withProject } from '../targets.ts';
import type { VerbContext } from '../verbs.ts';

/** `-p` limits what is asked for, and `--server` names the server to talk to. */
const FLAGS = FILTERS.map(({ field }) => field).filter((field) => field !== 'project' && field !== 'server');

type Flags = ServerFlags & { audit?: boolean; project?: string } & { [field in FilterField]?: string };

const EXAMPLES = `
Examples:
  castellan console --audit
  castellan console --audit -p demo --outcome refused
  ssh -t HOST castellan console --audit

Keys are at the bottom of the screen; ? explains them all.`;

export function defineConsole(program: Command, context: VerbContext): void {
  const command = program
    .command('console')
    .description('Watch what happens, on the terminal: sessions, events as they come, and their details.')
    .option('--audit', 'the audit: the console that there is');
  for (const field of FLAGS) {
    command.option(`--${field} <${field}>`, `show this ${field} alone, to begin with`);
  }
  withServer(withProject(command))
    .showHelpAfterError('Run `castellan console --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((flags: Flags) => run(flags, context));
}

async function run(flags: Flags, context: VerbContext): Promise<void> {
  const { env } = context;
  if (!flags.audit) throw usage('--audit is missing: castellan console --audit');
  checkTerminal(env.TERM);
  const { ANSWER_WITHIN_MS } = await import('../console/feed.ts');
  const { runConsole } = await import('../console/console.ts');
  const signal = await runConsole({
    connect: () => ServerClient.connect(flags, context, ANSWER_WITHIN_MS),
    project: flags.project,
    filter: filterOf(flags),
    colours: !env.NO_COLOR,
  });
  if (signal) context.exitNow(128 + constants.signals[signal]);
}

/** @throws CommandFailure that says what to use where nobody sits */
function checkTerminal(type: string | undefined): void {
  const instead = 'use `castellan audit query --watch` there';
  for (const [name, stream] of [
    ['stdin', process.stdin],
    ['stdout', process.stdout],
  ] as const) {
    if (!stream.isTTY) {
      throw usage(`${name} is no terminal, which the console needs (over ssh: ssh -t); ${instead}`);
    }
  }
  if (type === 'dumb') throw usage(`TERM=dumb cannot show the console; ${instead}`);
}

function filterOf(flags: Flags): Filter {
  return Object.fromEntries(FLAGS.flatMap((field) => (flags[field] ? [[field, flags[field]]] : [])));
}
