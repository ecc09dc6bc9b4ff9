import type { Command } from 'commander';
import { oneOf } from '../options.ts';
import { toYaml } from '../output.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import type { VerbContext } from '../verbs.ts';

export function defineWhoami(program: Command, context: VerbContext): void {
  const command = program
    .command('whoami')
    .description('Say who the server takes you for, and what that is granted.');
  withServer(command)
    .addOption(oneOf('-o, --output <format>', 'how to print', ['text', 'json'], 'text'))
    .showHelpAfterError('Run `castellan whoami --help` for its options.')
    .action(async (flags: ServerFlags & { output: 'text' | 'json' }) => {
      const client = await ServerClient.connect(flags, context);
      const answer = await client.get('whoami');
      context.terminal.data(flags.output === 'json' ? JSON.stringify(answer, null, 2) : toYaml(answer));
    });
}
