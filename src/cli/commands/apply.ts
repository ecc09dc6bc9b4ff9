import type { Command } from 'commander';
import type { AppliedObject } from '../../resources/apply.ts';
import { describeProblem } from '../../resources/problems.ts';
import { CommandFailure, Exit } from '../exit.ts';
import { labelOf, placeOf, readObjectFiles, withFiles } from '../object-files.ts';
import { PlannedObjects } from '../planned-objects.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { TokenFile } from '../token-file.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = ServerFlags & { filename: string[]; dryRun?: boolean; tokensOut?: string };

const EXAMPLES = `
\${VAR} and \${VAR:-default} are replaced from the environment of this command; \${secret:…} is left to the server.
A Secret without data, as get prints it, keeps its values; one with data gets them anew each time.
Each new token and each secret of a new OAuth client is printed once, as NAME<TAB>TOKEN. An object that names its metadata.resourceVersion is changed in
that version alone.

Examples:
  castellan apply -f castellan.yaml
  castellan apply -f servers/ -f projects.yaml
  castellan get server github -o yaml | castellan apply -f - --dry-run
  castellan apply -f tokens.yaml --tokens-out tokens.tsv`;

export function defineApply(program: Command, context: VerbContext): void {
  const apply = program.command('apply').description('Create or change resources from files. Live at once.');
  withFiles(apply, true)
    .option('--dry-run', 'check everything, change nothing')
    .option('--tokens-out <file>', 'write new tokens there (mode 0600) instead of printing them');
  withServer(apply)
    .showHelpAfterError('Run `castellan apply --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((flags: Flags) => run(flags, context));
}

async function run(flags: Flags, context: VerbContext): Promise<void> {
  const objects = await readObjectFiles(flags.filename, context, 'nothing was applied');
  await applyObjects(objects, flags, context);
}

type Outcome = 'created' | 'configured' | 'unchanged';

/** Applies objects one after another; one that is refused does not keep the others from being tried. */
export async function applyObjects(
  objects: readonly AppliedObject[],
  flags: Omit<Flags, 'filename'>,
  context: VerbContext,
): Promise<void> {
  const { terminal } = context;
  const client = await ServerClient.connect(flags, context);
  const tokens =
    flags.tokensOut === undefined || flags.dryRun ? undefined : await TokenFile.create(flags.tokensOut);
  const planned = new PlannedObjects(objects);
  const counts: Record<Outcome, number> = { created: 0, configured: 0, unchanged: 0 };
  const faults: string[] = [];
  try {
    for (const object of objects) {
      try {
        if (object.problems.length > 0) throw new SpoiledObject(object);
        counts[await applyOne(client, object, planned, tokens, flags, context)] += 1;
      } catch (error) {
        if (error instanceof SpoiledObject) faults.push(error.message);
        // An absent server or a missing right is the same for all.
        else if (!(error instanceof CommandFailure) || error.exitCode !== Exit.failed) throw error;
        else faults.push(`${object.file}:${object.line}: ${labelOf(object)}: ${error.message}`);
      }
    }
  } finally {
    await tokens?.finish();
  }
  for (const fault of faults) terminal.error(fault);
  if (objects.length > 1) terminal.note(summary(counts, faults.length, flags.dryRun ?? false));
  if (faults.length > 0) context.finish(Exit.failed);
}

/** An object that cannot be sent, such as one whose variable is not set. */
class SpoiledObject extends Error {
  constructor({ problems }: AppliedObject) {
    super(problems.map(describeProblem).join('\n'));
  }
}

function summary(counts: Record<Outcome, number>, refused: number, dryRun: boolean): string {
  const parts = Object.entries({ ...counts, refused }).filter(
    ([name, count]) => count > 0 || name !== 'refused',
  );
  const text = parts.map(([name, count]) => `${count} ${name}`).join(', ');
  return dryRun ? `${text} (dry run)` : text;
}

async function applyOne(
  client: ServerClient,
  object: AppliedObject,
  planned: PlannedObjects,
  tokens: TokenFile | undefined,
  flags: Omit<Flags, 'filename'>,
  { terminal }: VerbContext,
): Promise<Outcome> {
  const { apiVersion, kind, metadata, spec } = object;
  const written = { apiVersion, kind, metadata, spec };
  const dryRun = flags.dryRun ? true : undefined;
  const suffix = dryRun ? ' (dry run)' : '';
  if (dryRun && planned.isWithin(object)) {
    terminal.line(`${labelOf(object)} created${suffix}`);
    return 'created';
  }
  const body = dryRun ? planned.without(written) : written;
  const { path, query } = placeOf(object);
  const answer = await client.put(path, body, { ...query, dryRun });
  // Named servers that are themselves only planned are a change that the server cannot see.
  const hidden = body !== written && answer.action === 'unchanged';
  const action = hidden ? 'configured' : (String(answer.action) as Outcome);
  if (kind === 'McpToken' && action === 'unchanged') {
    terminal.line(`${labelOf(object)} already active, skipped${suffix}`);
    return action;
  }
  if (dryRun && action === 'created') planned.add(object);
  terminal.line(`${labelOf(object)} ${action}${suffix}`);
  const shownOnce = answer.token ?? answer.secret;
  if (typeof shownOnce !== 'string') return action;
  if (tokens) await tokens.add(metadata.name, shownOnce);
  else terminal.line(`${metadata.name}\t${shownOnce}`);
  return action;
}
