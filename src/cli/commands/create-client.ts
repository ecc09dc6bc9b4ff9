import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { messageOf } from '../../base/errors.ts';
import { failed, usage } from '../exit.ts';
import { repeated } from '../options.ts';
import type { VerbContext } from '../verbs.ts';
import { type CreateFlags, kindCommand, putNew } from './new-object.ts';

type Flags = CreateFlags & {
  project?: string;
  user?: string;
  scope?: string[];
  redirectUri?: string[];
  autoApprove?: boolean;
  auth?: string;
  jwks?: string;
  displayName?: string;
};

const EXAMPLES = `
The client id is the name. The secret alone goes to stdout, once; it is kept nowhere.
With --user it acts for that user without anybody at a browser, which takes impersonate for any user but yourself.

Examples:
  castellan create oauthclient voice-bot -p demo --user alice@example.com
  castellan create oauthclient dashboard --redirect-uri https://dash.example.com/callback
  castellan create oauthclient desktop --auth none --redirect-uri http://127.0.0.1/callback`;

/** `create oauthclient`: a client that signs in by OAuth and is registered by hand. */
export function defineCreateClient(create: Command, context: VerbContext): void {
  kindCommand(create, 'oauthclient', 'Create an OAuth client.', 'its name, which is its client id')
    .option('-p, --project <project>', 'the one project that it may ask for')
    .option('--user <email>', 'the user whom it acts for with nobody at a browser')
    .option('--scope <scope>', 'mcp or mcp:operator; may be given again (default: mcp)', repeated)
    .option('--redirect-uri <uri>', 'where it may have browsers sent to; may be given again', repeated)
    .option('--auto-approve', 'give codes to it for --user without asking anybody')
    .option('--auth <method>', 'basic, post, private_key_jwt or none (default: basic)')
    .option('--jwks <file>', 'its public keys, as a JSON Web Key Set, for --auth private_key_jwt')
    .option('--display-name <name>', 'what people are shown')
    .addHelpText('after', EXAMPLES)
    .action((name: string, flags: Flags) => run(name, flags, context));
}

async function run(name: string, flags: Flags, context: VerbContext): Promise<void> {
  const { project, user, scope, redirectUri, autoApprove, auth, jwks, displayName } = flags;
  const spec = {
    displayName,
    user,
    project,
    scopes: scope,
    redirectUris: redirectUri,
    autoApprove,
    tokenEndpointAuthMethod: auth,
    jwks: jwks === undefined ? undefined : await keySetOf(jwks),
  };
  await putNew('OAuthClient', name, spec, flags, context);
}

async function keySetOf(path: string): Promise<unknown> {
  const written = await readFile(path, 'utf8').catch((error: unknown) => {
    throw failed(`${path} cannot be read: ${messageOf(error)}`);
  });
  try {
    return JSON.parse(written) as unknown;
  } catch {
    throw usage(`--jwks: ${path} holds no JSON`);
  }
}
