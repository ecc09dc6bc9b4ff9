import type { Command } from 'commander';
import { expiryOf } from '../../identity/ttl.ts';
import { usage } from '../exit.ts';
import { type MadeFormat, printMade, withMadeOutput } from '../output.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { checkedInput, storedTarget, withProject } from '../targets.ts';
import type { VerbContext } from '../verbs.ts';
import { printPasswordLink } from './create-access.ts';

type Flags = ServerFlags & { project?: string; overlap?: string; output: MadeFormat };

const EXAMPLES = `
The new secret alone goes to stdout, once. Without --overlap the old one ends at once. Of a user, a one-time link goes
to stdout, by which they set a new password; the password that they have goes on until then.

Examples:
  castellan rotate mcptoken laptop -p demo --overlap 1h
  castellan rotate oauthclient voice-bot --overlap 1d
  castellan rotate user alice@example.com`;

export function defineRotate(program: Command, context: VerbContext): void {
  const command = program
    .command('rotate')
    .description(
      'Give a token or an OAuth client a new secret, or a user a link that sets a new password. Names and rights stay.',
    )
    .argument('<kind>', 'mcptoken, oauthclient or user; KIND/NAME works too')
    .argument('[name]', 'its name or id')
    .option('--overlap <time>', 'how long the old secret goes on: 1h, 30m (default: not at all)');
  withServer(withMadeOutput(withProject(command)))
    .showHelpAfterError('Run `castellan rotate --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((word: string, name: string | undefined, flags: Flags) => run(word, name, flags, context));
}

async function run(word: string, given: string | undefined, flags: Flags, context: VerbContext) {
  const { kind, names } = storedTarget(word, given === undefined ? [] : [given], 'rotate');
  if (kind.kind !== 'McpToken' && kind.kind !== 'OAuthClient' && kind.kind !== 'User')
    throw usage('only tokens, OAuth clients and users can be rotated: castellan rotate mcptoken NAME');
  const [name] = names;
  if (name === undefined) throw usage(`name it: castellan rotate ${kind.singular} NAME`);
  const { overlap, project } = flags;
  if (kind.kind === 'User') {
    if (overlap !== undefined)
      throw usage('--overlap is not for users: their password goes on until they set the new one');
    return printPasswordLink(name, await ServerClient.connect(flags, context), context, flags.output);
  }
  if (overlap !== undefined && checkedInput(() => expiryOf(overlap, Date.now(), '--overlap')) === null)
    throw usage('--overlap: never would leave the old secret as it is; write a time such as 1h');
  const client = await ServerClient.connect(flags, context);
  const path = `${kind.plural}/${encodeURIComponent(name)}/rotate`;
  const isToken = kind.kind === 'McpToken';
  const made = await client.post(path, undefined, { ...(isToken && { project }), overlap });
  printMade(context.terminal, flags.output, made, isToken ? 'token' : 'secret');
}
