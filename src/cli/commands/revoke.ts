import type { Command } from 'commander';
import { usage } from '../exit.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { storedTarget, withProject } from '../targets.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = ServerFlags & { project?: string; dryRun?: boolean };

export function defineRevoke(program: Command, context: VerbContext): void {
  const command = program
    .command('revoke')
    .description('End tokens and their streams now. Their rows stay; `delete` removes them.')
    .argument('<kind>', 'mcptoken; mcptoken/NAME works too')
    .argument('[names...]', 'their names or ids')
    .option('--dry-run', 'check, but revoke nothing');
  withServer(withProject(command))
    .showHelpAfterError('Run `castellan revoke --help` for its options.')
    .addHelpText('after', '\nExample:\n  castellan revoke mcptoken laptop -p demo')
    .action((word: string, names: string[], flags: Flags) => run(word, names, flags, context));
}

async function run(word: string, given: string[], flags: Flags, context: VerbContext): Promise<void> {
  const { kind, names } = storedTarget(word, given, 'revoke');
  if (kind.kind !== 'McpToken') throw usage('only tokens can be revoked: castellan revoke mcptoken NAME');
  if (names.length === 0) throw usage('name the token: castellan revoke mcptoken NAME');
  const client = await ServerClient.connect(flags, context);
  const query = { project: flags.project, dryRun: flags.dryRun ? true : undefined };
  for (const name of names) {
    await client.post(`mcptokens/${encodeURIComponent(name)}/revoke`, undefined, query);
    context.terminal.line(`mcptoken/${name} revoked${flags.dryRun ? ' (dry run)' : ''}`);
  }
}
