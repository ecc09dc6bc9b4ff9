import type { Command } from 'commander';
import { Contexts, checkContextName, type ServerContext } from '../contexts.ts';
import { usage } from '../exit.ts';
import { givenToken, TOKEN_SOURCES } from '../given-token.ts';
import { type OutputFormat, type Printing, printItems, withOutput } from '../output.ts';
import { ServerClient, serverUrl } from '../server-client.ts';
import type { VerbContext } from '../verbs.ts';

type Listed = { name: string; server: string; current: boolean; token: boolean };
type LoginFlags = { server?: string; context?: string; tokenFrom: string };

const LOGIN_EXAMPLES = `
The token is checked against the server, and kept in a file that only you can read.

Examples:
  castellan login --server https://mcp.example.com < token.txt
  castellan login --server https://mcp.example.com --context work --token-from env:WORK_TOKEN
  castellan login                       # a new token for the current context`;

export function defineLogin(program: Command, context: VerbContext): void {
  program
    .command('login')
    .description('Keep the URL of a server and a token for it, and use them from now on.')
    .option('--server <url>', 'the server (default: that of the context)')
    .option('--context <name>', 'what to call it (default: the current one, or the host of the server)')
    .option('--token-from <place>', `where the token is: ${TOKEN_SOURCES}`, '-')
    .showHelpAfterError('Run `castellan login --help` for its options.')
    .addHelpText('after', LOGIN_EXAMPLES)
    .action((flags: LoginFlags) => login(flags, context));
}

export function defineLogout(program: Command, context: VerbContext): void {
  program
    .command('logout')
    .description('Forget the token of a context. It stays valid: `revoke` ends it.')
    .option('--context <name>', 'which one (default: the current one)')
    .showHelpAfterError('Run `castellan logout --help` for its options.')
    .action((flags: { context?: string }) => logout(flags, context));
}

export function defineContext(program: Command, context: VerbContext): void {
  const command = program
    .command('context')
    .description('The servers that this command line knows by name, and which one it talks to.');
  withOutput(command.command('list').description('List them; * marks the current one.'))
    .showHelpAfterError('Run `castellan context list --help` for its options.')
    .action((flags: { output: OutputFormat }) => list(flags.output, context));
  command
    .command('use')
    .description('Talk to this one unless --context, --server or --data-dir says otherwise.')
    .argument('[name]', 'its name; without it, to the server of the data directory again')
    .action((name: string | undefined) => use(name, context));
  command
    .command('set')
    .description('Make or change one without asking its server.')
    .argument('<name>', 'its name')
    .option('--server <url>', 'URL of the server')
    .option('--token-from <place>', `where a token for it is: ${TOKEN_SOURCES}`)
    .showHelpAfterError('Run `castellan context set --help` for its options.')
    .action((name: string, flags: Omit<LoginFlags, 'context'>) => set(name, flags, context));
  command
    .command('delete')
    .description('Forget one, and its token.')
    .argument('<name>', 'its name')
    .action((name: string) => remove(name, context));
}

async function login(flags: LoginFlags, context: VerbContext): Promise<void> {
  const { terminal, env } = context;
  const contexts = await Contexts.read(env);
  const known = flags.context ?? (flags.server === undefined ? contexts.current : undefined);
  const server = flags.server ?? (known === undefined ? undefined : contexts.all.get(known)?.server);
  if (server === undefined) throw usage('name the server: castellan login --server https://mcp.example.com');
  const url = serverUrl(server, '--server');
  const name = checkContextName(known ?? url.host.replace(/[^A-Za-z0-9._-]+/g, '-'));
  warnOfPlainHttp(url, context);
  const token = await givenToken(flags.tokenFrom, context);
  const client = await ServerClient.connect(
    { server: url.href },
    { env: { ...env, CASTELLAN_TOKEN: token } },
  );
  const { principal } = await client.get('whoami');
  contexts.all.set(name, { server: url.origin, token });
  contexts.current = name;
  await contexts.write();
  terminal.line(`logged in to ${url.origin} as ${shortened(String(principal))}, context ${name}`);
}

async function logout(flags: { context?: string }, { terminal, env }: VerbContext): Promise<void> {
  const contexts = await Contexts.read(env);
  const name = flags.context ?? contexts.current;
  if (name === undefined) throw usage('there is no current context: name one with --context');
  const { server } = contexts.named(name);
  contexts.all.set(name, { server });
  await contexts.write();
  terminal.line(`logged out of ${server}, context ${name}`);
}

const printing: Printing<Listed> = {
  columns: [
    { title: 'CURRENT', value: ({ current }) => (current ? '*' : '') },
    { title: 'NAME', value: ({ name }) => name },
    { title: 'SERVER', value: ({ server }) => server },
    { title: 'TOKEN', value: ({ token }) => (token ? 'yes' : 'no') },
  ],
  nameOf: ({ name }) => `context/${name}`,
  none: 'no contexts; the server of the data directory is used',
};

async function list(output: OutputFormat, { terminal, env }: VerbContext): Promise<void> {
  const { all, current } = await Contexts.read(env);
  const items = [...all]
    .map(([name, { server, token }]) => ({
      name,
      server,
      current: name === current,
      token: token !== undefined,
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  printItems(terminal, output, items, printing);
}

async function use(name: string | undefined, { terminal, env }: VerbContext): Promise<void> {
  const contexts = await Contexts.read(env);
  const server = name === undefined ? 'the server of the data directory' : contexts.named(name).server;
  contexts.current = name;
  await contexts.write();
  terminal.line(`now talking to ${server}${name === undefined ? '' : `, context ${name}`}`);
}

async function set(
  name: string,
  flags: { server?: string; tokenFrom?: string },
  context: VerbContext,
): Promise<void> {
  const contexts = await Contexts.read(context.env);
  const before = contexts.all.get(checkContextName(name));
  const server = flags.server ?? before?.server;
  if (server === undefined) throw usage('--server is missing: a new context needs the URL of its server');
  const url = serverUrl(server, '--server');
  const token = flags.tokenFrom === undefined ? undefined : await givenToken(flags.tokenFrom, context);
  warnOfPlainHttp(url, context);
  // A token goes to the server that it was given for, and to no other.
  const kept = before?.server === url.origin ? before.token : undefined;
  const wanted: ServerContext = { server: url.origin };
  contexts.all.set(name, { ...wanted, ...((token ?? kept) && { token: token ?? kept }) });
  await contexts.write();
  context.terminal.line(`context ${name} ${before ? 'configured' : 'created'}`);
}

async function remove(name: string, { terminal, env }: VerbContext): Promise<void> {
  const contexts = await Contexts.read(env);
  contexts.named(name);
  contexts.all.delete(name);
  if (contexts.current === name) contexts.current = undefined;
  await contexts.write();
  terminal.line(`context ${name} deleted`);
}

function warnOfPlainHttp(url: URL, { terminal }: VerbContext): void {
  const isLoopback = /^(localhost|\[::1\]|127(\.\d{1,3}){3})$/.test(url.hostname);
  if (url.protocol === 'http:' && !isLoopback)
    terminal.warn(`the token travels unencrypted to ${url.host}; use https`);
}

const shortened = (principal: string) => (principal.length > 80 ? `${principal.slice(0, 24)}…` : principal);
