import type { Command } from 'commander';
import { CommandFailure, Exit, usage } from '../exit.ts';
import { labelOf, placeOf, readObjectFiles, withFiles } from '../object-files.ts';
import type { AnyObject } from '../printings.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { storedTargets, targetsOf, withProject, withSelector } from '../targets.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = ServerFlags & { project?: string; dryRun?: boolean; filename?: string[]; selector?: string };
type Doomed = { label: string; path: string; query: { project?: string | undefined } };

const EXAMPLES = `
Deleting a project deletes its tokens, deleting a grant ends all tokens that a client has by it. Objects from --config files belong to their file and are removed there.

Examples:
  castellan delete server github
  castellan delete mcptoken laptop ci -p demo
  castellan delete servers -l team=red
  castellan delete grant grn_4Fq9…
  castellan delete -f castellan.yaml`;

export function defineDelete(program: Command, context: VerbContext): void {
  const command = program
    .command('delete')
    .description('Delete resources by name, by label, or by the files that they came from.')
    .argument('[kind]', 'server, project, mcptoken …; KIND/NAME works too')
    .argument('[names...]', 'their names or ids');
  withFiles(withSelector(command), false).option('--dry-run', 'check, but delete nothing');
  withServer(withProject(command))
    .showHelpAfterError('Run `castellan delete --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((word: string | undefined, names: string[], flags: Flags) => run(word, names, flags, context));
}

async function run(
  word: string | undefined,
  names: string[],
  flags: Flags,
  context: VerbContext,
): Promise<void> {
  const { terminal } = context;
  if ((word === undefined) === (flags.filename === undefined))
    throw usage('say what to delete: KIND NAME, KIND -l SELECTOR, or -f FILE');
  const doomed =
    word === undefined
      ? await ofFiles(flags.filename ?? [], context)
      : await ofTargets(word, names, flags, context);
  const client = await ServerClient.connect(flags, context);
  const dryRun = flags.dryRun ? true : undefined;
  let isRefused = false;
  for (const { label, path, query } of doomed) {
    try {
      await client.delete(path, { ...query, dryRun });
      terminal.line(`${label} deleted${dryRun ? ' (dry run)' : ''}`);
    } catch (error) {
      if (!(error instanceof CommandFailure) || error.exitCode !== Exit.failed) throw error;
      if (doomed.length === 1) throw error;
      isRefused = true;
      terminal.error(`${label}: ${error.message}`);
    }
  }
  if (doomed.length === 0) terminal.note('nothing to delete');
  if (isRefused) context.finish(Exit.failed);
}

/** A grant is known by its id alone. */
function ofGrants(ids: readonly string[]): Doomed[] {
  if (ids.length === 0) throw usage('name the grant: castellan delete grant ID');
  return ids.map((id) => ({ label: `grant/${id}`, path: `grants/${encodeURIComponent(id)}`, query: {} }));
}

/** In reverse: what names something goes before it. */
async function ofFiles(files: readonly string[], context: VerbContext): Promise<Doomed[]> {
  const objects = await readObjectFiles(files, context, 'nothing was deleted');
  return objects.map((object) => ({ label: labelOf(object), ...placeOf(object) })).reverse();
}

async function ofTargets(
  word: string,
  names: string[],
  flags: Flags,
  context: VerbContext,
): Promise<Doomed[]> {
  const [first, ...more] = targetsOf(word, names);
  if (first?.kind === 'grants' && more.length === 0) return ofGrants(first.names);
  const targets = storedTargets(word, names, 'delete');
  const doomed: Doomed[] = [];
  for (const { kind, names: named } of targets) {
    if (named.length === 0 && flags.selector === undefined)
      throw usage(`name the ${kind.singular}: castellan delete ${kind.singular} NAME`);
    if (named.length > 0 && flags.selector !== undefined) throw usage('give names or -l SELECTOR, not both');
    const project = kind.kind === 'McpToken' ? flags.project : undefined;
    const place = (name: string, nameOrId = name): Doomed => ({
      label: `${kind.singular}/${name}`,
      path: `${kind.plural}/${encodeURIComponent(nameOrId)}`,
      query: { project },
    });
    doomed.push(...named.map((name) => place(name)));
    if (flags.selector === undefined) continue;
    const client = await ServerClient.connect(flags, context);
    const { items } = await client.get(kind.plural, { project, labelSelector: flags.selector });
    for (const { metadata } of items as AnyObject[]) doomed.push(place(metadata.name, metadata.uid));
  }
  return doomed;
}
