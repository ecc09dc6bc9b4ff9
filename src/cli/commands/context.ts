import type { Command } from 'commander';
import { Contexts, checkContextName, type ServerContext } from '../contexts.ts';
import { usage } from '../exit.ts';
import { givenToken, TOKEN_SOURCES, warnOfPlainHttp } from '../given-token.ts';
import { type OutputFormat, type Printing, printItems, withOutput } from '../output.ts';
import { serverUrl } from '../server-client.ts';
import { endSignIn } from '../sign-in/kept-sign-in.ts';
import type { VerbContext } from '../verbs.ts';

type Listed = { name: string; server: string; current: boolean; login: 'token' | 'sign-in' | 'none' };

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
    .action((name: string, flags: { server?: string; tokenFrom?: string }) => set(name, flags, context));
  command
    .command('delete')
    .description('Forget one, and its token; a sign-in ends.')
    .argument('<name>', 'its name')
    .action((name: string) => remove(name, context));
}

const printing: Printing<Listed> = {
  columns: [
    { title: 'CURRENT', value: ({ current }) => (current ? '*' : '') },
    { title: 'NAME', value: ({ name }) => name },
    { title: 'SERVER', value: ({ server }) => server },
    { title: 'LOGIN', value: ({ login }) => login },
  ],
  nameOf: ({ name }) => `context/${name}`,
  none: 'no contexts; the server of the data directory is used',
};

async function list(output: OutputFormat, { terminal, env }: VerbContext): Promise<void> {
  const { all, current } = await Contexts.read(env);
  const items = [...all]
    .map(([name, context]) => ({
      name,
      server: context.server,
      current: name === current,
      login: loginOf(context),
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  printItems(terminal, output, items, printing);
}

function loginOf({ token, signIn }: ServerContext): Listed['login'] {
  if (signIn) return 'sign-in';
  return token === undefined ? 'none' : 'token';
}

async function use(name: string | undefined, { terminal, env }: VerbContext): Promise<void> {
  const server = await Contexts.change(env, (contexts) => {
    contexts.current = name;
    return name === undefined ? 'the server of the data directory' : contexts.named(name).server;
  });
  terminal.line(`now talking to ${server}${name === undefined ? '' : `, context ${name}`}`);
}

async function set(
  name: string,
  flags: { server?: string; tokenFrom?: string },
  context: VerbContext,
): Promise<void> {
  const { env, terminal } = context;
  const known = (await Contexts.read(env)).all.get(checkContextName(name))?.server;
  const server = flags.server ?? known;
  if (server === undefined) throw usage('--server is missing: a new context needs the URL of its server');
  const url = serverUrl(server, '--server');
  const token = flags.tokenFrom === undefined ? undefined : await givenToken(flags.tokenFrom, context);
  warnOfPlainHttp(url, terminal);
  const before = await Contexts.change(env, (contexts) => {
    const replaced = contexts.all.get(name);
    // What proves somebody to one server goes to no other.
    const kept = replaced?.server === url.origin && token === undefined ? replaced : undefined;
    contexts.all.set(name, kept ?? { server: url.origin, ...(token !== undefined && { token }) });
    return kept ? undefined : replaced;
  });
  await endSignIn(before, terminal);
  terminal.line(`context ${name} ${known === undefined ? 'created' : 'configured'}`);
}

async function remove(name: string, { terminal, env }: VerbContext): Promise<void> {
  const before = await Contexts.change(env, (contexts) => {
    const context = contexts.named(name);
    contexts.all.delete(name);
    if (contexts.current === name) contexts.current = undefined;
    return context;
  });
  await endSignIn(before, terminal);
  terminal.line(`context ${name} deleted`);
}
