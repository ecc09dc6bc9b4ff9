import { createInterface } from 'node:readline/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LoginEnded, LoginStep } from '../../vendors/logins.ts';
import { failed, usage } from '../exit.ts';
import { type LoginDesk, servedDesk } from '../login-desk.ts';
import { ServerClient, type ServerFlags } from '../server-client.ts';
import { cleanLine } from '../terminal.ts';
import type { VerbContext } from '../verbs.ts';
import type { LocalFlags } from './mcp-local.ts';

export type LoginFlags = ServerFlags &
  LocalFlags & {
    device?: boolean;
    browser?: boolean;
    paste?: boolean | string;
    resume?: boolean;
  };

const MAX_PASTE = 16 * 1024;

/** Signs in for one server, or goes on with what was begun. */
export async function loginTo(name: string, flags: LoginFlags, context: VerbContext): Promise<void> {
  const { device, browser, paste, resume } = flags;
  const ways = [device && '--device', browser && '--browser', paste !== undefined && '--paste'].filter(
    Boolean,
  );
  if (ways.length > 1) throw usage(`${ways.join(' and ')} are different ways: choose one`);
  if (resume && ways.length > 0)
    throw usage(`--resume goes on with what was begun: leave out ${ways.join()}`);
  const desk = await deskOf(name, flags, context);
  if (typeof paste === 'string') await desk.goOn({ url: paste });
  else if (browser) await waitForBrowser(desk, name, context);
  else {
    const wish = device ? { flow: 'device' as const } : paste ? { flow: 'paste' as const } : {};
    const step = resume ? await desk.pending() : await desk.begin(wish);
    if (step.flow === 'device') await waitForDevice(desk, name, step, context);
    else await readPaste(desk, name, step, context);
  }
  signedIn(name, context);
}

async function deskOf(
  name: string,
  flags: ServerFlags & LocalFlags,
  context: VerbContext,
): Promise<LoginDesk> {
  if (!flags.local) return servedDesk(await ServerClient.connect(flags, context), name);
  const { localDesk } = await import('../local/local-logins.ts');
  const { localServer, readLocalServers } = await import('../local/local-servers.ts');
  return localDesk(localServer(await readLocalServers(flags.config, context), name), context.env);
}

async function waitForBrowser(desk: LoginDesk, name: string, context: VerbContext): Promise<void> {
  const { throughBrowser } = await import('../sign-in/loopback-return.ts');
  const begin = async (redirectUri: string) => {
    const page = URL.parse((await desk.begin({ flow: 'browser', redirectUri })).url);
    const state = page?.searchParams.get('state');
    if (!page || !state) throw failed('the server names no page to sign in at');
    return { url: page, state };
  };
  const finish = async ({ href: url }: URL) => {
    await desk.goOn({ url });
  };
  const again = `castellan mcp login ${cleanLine(name)}${desk.flags} again`;
  await throughBrowser({ begin, finish, again }, context);
}

export async function logoutOf(
  name: string,
  flags: ServerFlags & LocalFlags,
  context: VerbContext,
): Promise<void> {
  tellEnded(name, await (await deskOf(name, flags, context)).end(), context);
}

function tellEnded(name: string, { ended, atVendor }: LoginEnded, { terminal }: VerbContext): void {
  const shown = cleanLine(name);
  const out = `is signed out${atVendor === 'revoked' ? ', at the vendor too' : ''}`;
  terminal.line(ended ? `${shown} ${out}` : `nobody was signed in for ${shown}`);
  const there = 'end it on the page of your account there';
  if (atVendor === 'kept') terminal.warn(`the vendor did not take the grant back: ${there}`);
  if (atVendor === 'untold') terminal.warn(`the vendor names no way to take a grant back: ${there}`);
}

function signedIn(name: string, { terminal }: VerbContext): void {
  terminal.line(`${cleanLine(name)} is signed in; its next call connects`);
}

async function waitForDevice(
  desk: LoginDesk,
  name: string,
  { id, url, userCode, expiresAt }: LoginStep,
  { terminal }: VerbContext,
): Promise<void> {
  terminal.note(`Open this address in a browser, anywhere:\n\n  ${cleanLine(url)}\n`);
  terminal.note(`and check that it shows the code ${cleanLine(userCode ?? '')}, or type it there. Waiting;`);
  terminal.note(
    `you may stop here and go on later: castellan mcp login ${cleanLine(name)}${desk.flags} --resume`,
  );
  while (Date.now() < Date.parse(expiresAt)) {
    const progress = await desk.goOn({ id });
    if (progress.state === 'signed_in') return;
    await sleep(Math.min(60_000, Math.max(250, progress.retryAfterMs)));
  }
  throw failed('nobody agreed in time: begin again');
}

/** A line that is no answer leaves the sign-in as it is, and a terminal is asked again. */
async function readPaste(
  desk: LoginDesk,
  name: string,
  { url, redirectUri = '' }: LoginStep,
  { terminal }: VerbContext,
): Promise<void> {
  terminal.note(`Open this address in a browser, anywhere:\n\n  ${cleanLine(url)}\n`);
  terminal.note(
    `When you have agreed, the browser goes to ${cleanLine(redirectUri)}, and may say that it cannot be reached. Paste the whole address that it shows then:`,
  );
  const lines = createInterface({ input: process.stdin, terminal: false });
  try {
    for await (const line of lines) {
      const pasted = line.trim();
      if (pasted === '') continue;
      try {
        if (pasted.length > MAX_PASTE) throw failed('that is too long for an address');
        await desk.goOn({ url: pasted });
        return;
      } catch (error) {
        if (!process.stdin.isTTY || !(await isUnderWay(desk))) throw error;
        // The API names the field; here there is one thing that can be wrong.
        const said = cleanLine((error as Error).message).replace(/^url: /, 'that ');
        terminal.warn(`${said}\nPaste the address again:`);
      }
    }
  } finally {
    lines.close();
  }
  throw failed(
    `nothing was pasted; the sign-in waits: castellan mcp login ${cleanLine(name)}${desk.flags} --resume`,
  );
}

async function isUnderWay(desk: LoginDesk): Promise<boolean> {
  return desk.pending().then(
    () => true,
    () => false,
  );
}
