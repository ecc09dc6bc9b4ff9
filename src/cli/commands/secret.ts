import type { Command } from 'commander';
import { oneOf } from '../options.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = ServerFlags & { retireOld?: string; output: 'text' | 'json' };

const EXAMPLES = `
What is stored is sealed anew under the new key. Sessions, tasks and cursors that were given out before go on: older
keys open what they sealed until they are forgotten.

Examples:
  castellan secret rotate-key
  castellan secret rotate-key --retire-old 7d   # no legacy session lives longer
  castellan secret rotate-key --retire-old 0s   # ends every session and task of clients now`;

export function defineSecret(program: Command, context: VerbContext): void {
  const secret = program.command('secret').description('The keys that secrets are sealed under.');
  const rotate = secret.command('rotate-key').description('Seal with a new key from now on.');
  withServer(rotate)
    .option('--retire-old <age>', 'forget keys that ceased to seal so long ago, such as 7d')
    .addOption(oneOf('-o, --output <format>', 'how to print', ['text', 'json'], 'text'))
    .showHelpAfterError('Run `castellan secret rotate-key --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((flags: Flags) => rotateKey(flags, context));
}

async function rotateKey(flags: Flags, context: VerbContext): Promise<void> {
  const { terminal } = context;
  const client = await ServerClient.connect(flags, context);
  const done = await client.post('secrets/rotate-key', { retireOld: flags.retireOld });
  if (flags.output === 'json') return terminal.data(JSON.stringify(done, null, 2));
  const { key, keys, resealed, retired } = done;
  terminal.line(
    `key ${key} seals now; ${resealed} values sealed anew, ${retired} keys forgotten, ${keys} open`,
  );
}
