import { createInterface } from 'node:readline/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { LoginProgress, LoginStep } from '../../vendors/logins.ts';
import { failed, usage } from '../exit.ts';
import { ServerClient, type ServerFlags } from '../server-client.ts';
import { cleanLine } from '../terminal.ts';
import type { VerbContext } from '../verbs.ts';

export type LoginFlags = ServerFlags & { device?: boolean; paste?: boolean | string; resume?: boolean };

const MAX_PASTE = 16 * 1024;

/** Signs in for one server, or goes on with what was begun. */
export async function loginTo(name: string, flags: LoginFlags, context: VerbContext): Promise<void> {
  const { device, paste, resume } = flags;
  if (device && paste !== undefined) throw usage('--device and --paste are two ways: choose one');
  if (resume && (device || paste !== undefined))
    throw usage('--resume goes on with what was begun: leave out --device and --paste');
  const client = await ServerClient.connect(flags, context);
  const path = `servers/${encodeURIComponent(name)}/login`;
  if (typeof paste === 'string') {
    await client.post(`${path}/complete`, { url: paste });
    return signedIn(name, context);
  }
  const wish = device ? { flow: 'device' } : paste ? { flow: 'paste' } : {};
  const answer = resume ? await client.get(path) : await client.post(path, wish);
  const step = answer as unknown as LoginStep;
  if (step.flow === 'device') await waitForDevice(client, path, step, context);
  else await readPaste(client, path, name, step, context);
  signedIn(name, context);
}

export async function logoutOf(name: string, flags: ServerFlags, context: VerbContext): Promise<void> {
  const client = await ServerClient.connect(flags, context);
  const { ended } = await client.delete(`servers/${encodeURIComponent(name)}/login`);
  const { terminal } = context;
  if (ended === true) terminal.line(`${cleanLine(name)} is signed out; the vendor may still list the grant`);
  else terminal.line(`nobody was signed in for ${cleanLine(name)}`);
}

function signedIn(name: string, { terminal }: VerbContext): void {
  terminal.line(`${cleanLine(name)} is signed in; its next call connects`);
}

async function waitForDevice(
  client: ServerClient,
  path: string,
  { url, userCode, expiresAt }: LoginStep,
  { terminal }: VerbContext,
): Promise<void> {
  terminal.note(`Open this address in a browser, anywhere:\n\n  ${cleanLine(url)}\n`);
  terminal.note(`and check that it shows the code ${cleanLine(userCode ?? '')}, or type it there.`);
  while (Date.now() < Date.parse(expiresAt)) {
    const progress = (await client.post(`${path}/complete`, {})) as unknown as LoginProgress;
    if (progress.state === 'signed_in') return;
    await sleep(Math.min(60_000, Math.max(250, progress.retryAfterMs)));
  }
  throw failed('nobody agreed in time: begin again');
}

/** A line that is no answer leaves the sign-in as it is, and a terminal is asked again. */
async function readPaste(
  client: ServerClient,
  path: string,
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
        await client.post(`${path}/complete`, { url: pasted });
        return;
      } catch (error) {
        if (!process.stdin.isTTY || !(await isUnderWay(client, path))) throw error;
        terminal.warn(`${cleanLine((error as Error).message)}\nPaste the address again:`);
      }
    }
  } finally {
    lines.close();
  }
  throw failed(`nothing was pasted; the sign-in waits: castellan mcp login ${cleanLine(name)} --resume`);
}

async function isUnderWay(client: ServerClient, path: string): Promise<boolean> {
  return client.get(path).then(
    () => true,
    () => false,
  );
}
