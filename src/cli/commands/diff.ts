import type { Command } from 'commander';
import type { AppliedObject } from '../../resources/apply.ts';
import { describeProblem } from '../../resources/problems.ts';
import { CommandFailure, Exit } from '../exit.ts';
import { labelOf, placeOf, readObjectFiles, withFiles } from '../object-files.ts';
import { PlannedObjects } from '../planned-objects.ts';
import type { AnyObject } from '../printings.ts';
import { ServerClient, type ServerFlags, ServerRefusal, withServer } from '../server-client.ts';
import { unifiedDiff } from '../unified-diff.ts';
import type { VerbContext } from '../verbs.ts';
import { sortedYaml } from '../written-form.ts';

type Flags = ServerFlags & { filename: string[] };

const EXAMPLES = `
Exit codes: 0 no difference; 2 a difference; 1 something is refused, or cannot be told.

Examples:
  castellan diff -f castellan.yaml
  castellan diff -f servers/ && echo "nothing to do"`;

export function defineDiff(program: Command, context: VerbContext): void {
  const diff = program
    .command('diff')
    .description('Show what `apply` would change, as a unified diff. Changes nothing.');
  withServer(withFiles(diff, true))
    .showHelpAfterError('Run `castellan diff --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((flags: Flags) => run(flags, context));
}

async function run(flags: Flags, context: VerbContext): Promise<void> {
  const { terminal } = context;
  const objects = await readObjectFiles(flags.filename, context, 'nothing was compared');
  const client = await ServerClient.connect(flags, context);
  const planned = new PlannedObjects(objects);
  let isDifferent = false;
  let isRefused = false;
  for (const object of objects) {
    try {
      const diff = await difference(client, object, planned, context);
      if (diff === '') continue;
      isDifferent = true;
      terminal.data(diff);
    } catch (error) {
      if (!(error instanceof CommandFailure) || error.exitCode !== Exit.failed) throw error;
      isRefused = true;
      terminal.error(`${object.file}:${object.line}: ${labelOf(object)}: ${error.message}`);
    }
  }
  if (isRefused) context.finish(Exit.failed);
  else if (isDifferent) context.finish(Exit.contract);
}

async function difference(
  client: ServerClient,
  object: AppliedObject,
  planned: PlannedObjects,
  { terminal }: VerbContext,
): Promise<string> {
  if (object.problems.length > 0) {
    throw new CommandFailure(Exit.failed, object.problems.map(describeProblem).join('\n'));
  }
  const { path, query } = placeOf(object);
  const names = { before: `live/${labelOf(object)}`, after: `${object.file}/${labelOf(object)}` };
  if (planned.isWithin(object)) return unifiedDiff('', sortedYaml(object), names);
  const { apiVersion, kind, metadata, spec } = object;
  const body = planned.without({ apiVersion, kind, metadata, spec });
  const answer = await client.put(path, body, { ...query, dryRun: true });
  if (answer.action === 'created') planned.add(object);
  const wanted = answer.object as unknown as AnyObject;
  // Values of secrets never come back, so only the names of their keys can be compared.
  if (kind === 'Secret' && spec.data !== undefined)
    terminal.note(`${labelOf(object)}: values are given, and would be written; they are not compared`);
  // An active token stays as it is, whatever is written of it.
  if (kind === 'McpToken' && answer.action === 'unchanged') return '';
  const after = sortedYaml(kind === 'Secret' || kind === 'McpToken' ? wanted : object);
  const live = kind === 'McpToken' ? undefined : await found(client, path);
  return unifiedDiff(live ? sortedYaml(live) : '', after, names);
}

async function found(client: ServerClient, path: string): Promise<AnyObject | undefined> {
  try {
    return (await client.get(path)) as unknown as AnyObject;
  } catch (error) {
    if (error instanceof ServerRefusal && error.status === 404) return undefined;
    throw error;
  }
}
