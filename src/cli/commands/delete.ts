import type { Command } from 'commander';
import { usage } from '../exit.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { targetOf, withProject } from '../targets.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = ServerFlags & { project?: string; dryRun?: boolean };

const EXAMPLES = `
Deleting a project deletes its tokens. Objects from --config files belong to their file and are removed there.

Examples:
  castellan delete server github
  castellan delete mcptoken laptop -p demo`;

export function defineDelete(program: Command, context: VerbContext): void {
  const command = program
    .command('delete')
    .description('Delete resources.')
    .argument('<kind>', 'server, project or mcptoken; KIND/NAME works too')
    .argument('[names...]', 'their names or ids')
    .option('--dry-run', 'check, but delete nothing');
  withServer(withProject(command))
    .showHelpAfterError('Run `castellan delete --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((word: string, names: string[], flags: Flags) => run(word, names, flags, context));
}

async function run(word: string, given: string[], flags: Flags, context: VerbContext): Promise<void> {
  const { kind, names } = targetOf(word, given);
  if (kind === 'tools') throw usage('tools belong to their server: hide them with tools.deny in its spec');
  if (names.length === 0) throw usage(`name the ${kind.singular}: castellan delete ${kind.singular} NAME`);
  const client = await ServerClient.connect(flags, context);
  const project = kind.kind === 'McpToken' ? flags.project : undefined;
  const dryRun = flags.dryRun ? true : undefined;
  for (const name of names) {
    await client.delete(`${kind.plural}/${encodeURIComponent(name)}`, { project, dryRun });
    context.terminal.line(`${kind.singular}/${name} deleted${dryRun ? ' (dry run)' : ''}`);
  }
}
