import type { Command } from 'commander';
import { failed } from '../exit.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import type { VerbContext } from '../verbs.ts';

export function defineReload(program: Command, context: VerbContext): void {
  const reload = program
    .command('reload')
    .description(
      'Re-read the --config files of the running server. A broken file keeps the last good state.',
    );
  withServer(reload)
    .showHelpAfterError('Run `castellan reload --help` for its options.')
    .action((flags: ServerFlags) => run(flags, context));
}

async function run(flags: ServerFlags, context: VerbContext): Promise<void> {
  const client = await ServerClient.connect(flags, context);
  const { ok, message } = await client.post('reload');
  if (ok !== true) throw failed(String(message));
  context.terminal.line(String(message));
}
