import type { Command } from 'commander';
import { Contexts, checkContextName, type ServerContext } from '../contexts.ts';
import { Exit, usage } from '../exit.ts';
import { givenToken, TOKEN_SOURCES, warnOfPlainHttp } from '../given-token.ts';
import { ServerClient, serverUrl } from '../server-client.ts';
import { endSignIn } from '../sign-in/kept-sign-in.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = { server?: string; context?: string; device?: true; tokenFrom?: string };

const EXAMPLES = `
You sign in on a page of the server. What is kept here, in a file that only you can read, is renewed by itself until you
log out, do not use it for 30 days, or for a year.

Examples:
  castellan login https://mcp.example.com
  castellan login https://mcp.example.com --device      # the browser is on another machine
  castellan login https://mcp.example.com --context work --token-from env:WORK_TOKEN
  castellan login                                       # anew, to the current context`;

export function defineLogin(program: Command, context: VerbContext): void {
  program
    .command('login')
    .description('Sign in at a server, or give a token for it, and talk to it from now on.')
    .argument('[url]', 'the server (default: that of the context)')
    .option('--server <url>', 'the same')
    .option('--context <name>', 'what to call it (default: the current one, or the host of the server)')
    .option('--device', 'sign in with a code that you enter in a browser anywhere')
    .option('--token-from <place>', `sign nobody in, but keep the token in ${TOKEN_SOURCES}`)
    .showHelpAfterError('Run `castellan login --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((url: string | undefined, flags: Flags) => login(url, flags, context));
}

export function defineLogout(program: Command, context: VerbContext): void {
  program
    .command('logout')
    .description('End the sign-in of a context. A token that was given is forgotten; `revoke` ends it.')
    .option('--context <name>', 'which one (default: the current one)')
    .showHelpAfterError('Run `castellan logout --help` for its options.')
    .action((flags: { context?: string }) => logout(flags, context));
}

async function login(argument: string | undefined, flags: Flags, context: VerbContext): Promise<void> {
  const { terminal, env } = context;
  if (flags.device && flags.tokenFrom !== undefined)
    throw usage('--device signs in, --token-from does not: leave one out');
  const { url, name } = await whereTo(argument, flags, env);
  warnOfPlainHttp(url, terminal);
  const proof = await proofOf(url, flags, context);
  const now: ServerContext = { server: url.origin, ...proof };
  try {
    const who = await whoIs(now, env);
    const before = await Contexts.change(env, (contexts) => {
      const replaced = contexts.all.get(name);
      contexts.all.set(name, now);
      contexts.current = name;
      return replaced;
    });
    await endSignIn(before, terminal);
    terminal.line(`logged in to ${url.origin} as ${who}, context ${name}`);
  } catch (error) {
    await endSignIn(now, terminal);
    throw error;
  }
}

async function whoIs({ server, token, signIn }: ServerContext, env: VerbContext['env']): Promise<string> {
  const given = { ...env, CASTELLAN_TOKEN: token ?? signIn?.accessToken };
  const { principal, owner } = await (await ServerClient.connect({ server }, { env: given })).get('whoami');
  return signIn ? `User:${owner}` : shortened(String(principal));
}

async function whereTo(
  argument: string | undefined,
  { server, context }: Flags,
  env: VerbContext['env'],
): Promise<{ url: URL; name: string }> {
  if (argument !== undefined && server !== undefined)
    throw usage('the server is named twice: leave --server out');
  const given = argument ?? server;
  const contexts = await Contexts.read(env);
  const known = context ?? (given === undefined ? contexts.current : undefined);
  const text = given ?? (known === undefined ? undefined : contexts.all.get(known)?.server);
  if (text === undefined) throw usage('name the server: castellan login https://mcp.example.com');
  const url = serverUrl(text, argument === undefined ? '--server' : 'the URL');
  return { url, name: checkContextName(known ?? url.host.replace(/[^A-Za-z0-9._-]+/g, '-')) };
}

async function proofOf(
  url: URL,
  flags: Flags,
  context: VerbContext,
): Promise<Pick<ServerContext, 'token' | 'signIn'>> {
  if (flags.tokenFrom !== undefined) return { token: await givenToken(flags.tokenFrom, context) };
  const { SignInServer } = await import('../sign-in/sign-in-server.ts');
  const server = await SignInServer.find(url);
  if (flags.device) {
    const { signInByDevice } = await import('../sign-in/device-sign-in.ts');
    return { signIn: await signInByDevice(server, context.terminal) };
  }
  const { signInByBrowser } = await import('../sign-in/browser-sign-in.ts');
  return { signIn: await signInByBrowser(server, context) };
}

async function logout(flags: { context?: string }, context: VerbContext): Promise<void> {
  const { terminal, env } = context;
  const { name, ended } = await Contexts.change(env, (contexts) => {
    const name = flags.context ?? contexts.current;
    if (name === undefined) throw usage('there is no current context: name one with --context');
    const ended = contexts.named(name);
    contexts.all.set(name, { server: ended.server });
    return { name, ended };
  });
  if (!(await endSignIn(ended, terminal))) context.finish(Exit.unreachable);
  terminal.line(`logged out of ${ended.server}, context ${name}`);
}

const shortened = (principal: string) => (principal.length > 80 ? `${principal.slice(0, 24)}…` : principal);
