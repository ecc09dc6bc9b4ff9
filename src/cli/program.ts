import { Command, CommanderError } from 'commander';
import { Exit, type ExitCode, outcomeOf } from './exit.ts';
import { type Outside, type VerbContext, verbs } from './verbs.ts';

/** Options that may also stand before the verb; each takes a value. */
const EARLY_OPTIONS = new Set([
  '-p',
  '--project',
  '-o',
  '--output',
  '--server',
  '--context',
  '--data-dir',
  '--as',
]);

/** The verb that shells call; nobody else needs to know of it. */
const COMPLETE = '__complete';

/** Runs one command line to its end and answers with the exit code; never throws. */
export async function runCommandLine(argv: readonly string[], outside: Outside): Promise<ExitCode> {
  const { terminal } = outside;
  let exitCode: ExitCode = Exit.ok;
  const context: VerbContext = {
    ...outside,
    finish: (code) => {
      exitCode = code;
    },
    wholeProgram: () => buildProgram(undefined, context),
  };
  const ordered = verbFirst(argv);
  try {
    if (ordered[0] === COMPLETE) {
      await complete(ordered.slice(1), context);
      return Exit.ok;
    }
    const program = await buildProgram(ordered, context);
    if (ordered.length === 0) program.outputHelp();
    else await program.parseAsync(ordered, { from: 'user' });
    return exitCode;
  } catch (error) {
    // Commander has printed its own sentence by now; showing help or the version is no error.
    if (error instanceof CommanderError) return error.exitCode === 0 ? Exit.ok : Exit.usage;
    const outcome = outcomeOf(error);
    if (outcome.message) terminal.error(outcome.message);
    if (outside.env.CASTELLAN_LOG_LEVEL === 'debug' && error instanceof Error)
      terminal.note(error.stack ?? '');
    return outcome.exitCode;
  }
}

/** What could stand in place of the last word, one a line, for the script of a shell. */
async function complete(words: readonly string[], context: VerbContext): Promise<void> {
  const { candidates } = await import('./completion/candidates.ts');
  const ordered = [...verbFirst(words.slice(0, -1)), ...words.slice(-1)];
  const program = await buildProgram(ordered, context);
  for (const word of await candidates(program, ordered, context)) context.terminal.line(word);
}

/** @param argv tells which verb's code is needed; undefined: that of all */
async function buildProgram(argv: readonly string[] | undefined, context: VerbContext): Promise<Command> {
  const { terminal } = context;
  const program = new Command('castellan')
    .description('One endpoint and one scoped credential per agent, in front of all your MCP servers.')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.data(text),
      writeErr: (text) => terminal.note(text.trimEnd()),
    })
    .configureHelp({ showGlobalOptions: false })
    .addHelpText('after', '\n`castellan VERB --help` shows the options of a verb, with examples.');
  const wanted = argv?.[0] === 'help' ? argv[1] : argv?.[0];
  for (const verb of verbs) {
    // Only the verb that is asked for loads its code.
    if (verb.name === wanted || !argv) (await verb.load())(program, context);
    else program.command(verb.name).summary(verb.summary).allowUnknownOption().allowExcessArguments();
    program.commands.at(-1)?.helpGroup(verb.group).summary(verb.summary);
  }
  if (argv?.[0] === '--version' || argv?.[0] === '-V') {
    const { packageVersion } = await import('./package-version.ts');
    program.version(packageVersion());
  }
  return program;
}

/** `castellan -p demo get tools` means `castellan get tools -p demo`. */
function verbFirst(argv: readonly string[]): string[] {
  let index = 0;
  while (index < argv.length) {
    const [flag, value] = (argv[index] ?? '').split('=', 2);
    if (!EARLY_OPTIONS.has(flag ?? '')) break;
    index += value === undefined ? 2 : 1;
  }
  return index < argv.length ? [...argv.slice(index), ...argv.slice(0, index)] : [...argv];
}
