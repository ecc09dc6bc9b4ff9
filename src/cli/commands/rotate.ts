import type { Command } from 'commander';
import { expiryOf } from '../../identity/ttl.ts';
import { usage } from '../exit.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { checkedInput, storedTarget, withProject } from '../targets.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = ServerFlags & { project?: string; overlap?: string };

const EXAMPLES = `
The new secret alone goes to stdout, once. Without --overlap the old one ends at once.

Example:
  castellan rotate mcptoken laptop -p demo --overlap 1h
  castellan rotate oauthclient voice-bot --overlap 1d`;

export function defineRotate(program: Command, context: VerbContext): void {
  const command = program
    .command('rotate')
    .description(
      "Give a token or an OAuth client a new secret. Its name and rights stay, and a token's expiry.",
    )
    .argument('<kind>', 'mcptoken or oauthclient; KIND/NAME works too')
    .argument('[name]', 'its name or id')
    .option('--overlap <time>', 'how long the old secret goes on: 1h, 30m (default: not at all)');
  withServer(withProject(command))
    .showHelpAfterError('Run `castellan rotate --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((word: string, name: string | undefined, flags: Flags) => run(word, name, flags, context));
}

async function run(word: string, given: string | undefined, flags: Flags, context: VerbContext) {
  const { kind, names } = storedTarget(word, given === undefined ? [] : [given], 'rotate');
  if (kind.kind !== 'McpToken' && kind.kind !== 'OAuthClient')
    throw usage('only tokens and OAuth clients can be rotated: castellan rotate mcptoken NAME');
  const [name] = names;
  if (name === undefined) throw usage(`name it: castellan rotate ${kind.singular} NAME`);
  const { overlap, project } = flags;
  if (overlap !== undefined && checkedInput(() => expiryOf(overlap, Date.now(), '--overlap')) === null)
    throw usage('--overlap: never would leave the old secret as it is; write a time such as 1h');
  const client = await ServerClient.connect(flags, context);
  const path = `${kind.plural}/${encodeURIComponent(name)}/rotate`;
  const isToken = kind.kind === 'McpToken';
  const made = await client.post(path, undefined, { ...(isToken && { project }), overlap });
  context.terminal.data(String(isToken ? made.token : made.secret));
}
