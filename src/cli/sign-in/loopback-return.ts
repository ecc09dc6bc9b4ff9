import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { failed } from '../exit.ts';
import type { VerbContext } from '../verbs.ts';
import { openPage } from './desktop-browser.ts';

/** As long as the other side waits for somebody. */
const PATIENCE_MS = 600_000;
const HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  connection: 'close',
};

export type BrowserErrand<T> = {
  /** Where the browser has to go, and the state with which it comes back to `redirectUri`. */
  begin(redirectUri: string): Promise<{ url: URL; state: string }>;
  /** Takes the address that it came back to. */
  finish(back: URL): Promise<T>;
  /** What to run for another try. */
  again: string;
};

/**
 * Sends a browser on this machine somewhere and waits on loopback for it to come back (RFC 8252 section 7.3). Whatever
 * comes there without the state of this very errand is turned away and changes nothing; one answer counts.
 */
export async function throughBrowser<T>(
  { begin, finish, again }: BrowserErrand<T>,
  { terminal, env }: Pick<VerbContext, 'terminal' | 'env'>,
): Promise<T> {
  const back = Promise.withResolvers<{ url: URL; response: ServerResponse }>();
  let awaited: { redirectUri: string; state: string } | undefined;
  const listener = createServer((request, response) => {
    const url = awaited && answerTo(awaited, request);
    if (!url) {
      void say(response, 404, 'Nothing waits for this', 'It is no answer to the sign-in that goes on here.');
      return;
    }
    awaited = undefined;
    back.resolve({ url, response });
  });
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  const timer = setTimeout(
    () => back.reject(failed(`nobody signed in within ten minutes: run ${again}`)),
    PATIENCE_MS,
  );
  try {
    const redirectUri = `http://127.0.0.1:${(listener.address() as AddressInfo).port}/callback`;
    const { url, state } = await begin(redirectUri);
    refuseOpen(url);
    awaited = { redirectUri, state };
    terminal.note(`Open this page in a browser on this machine (elsewhere: --device):\n\n  ${url}\n`);
    openPage(url, env);
    const { url: came, response } = await back.promise;
    try {
      const result = await finish(came);
      await say(response, 200, 'You are signed in', 'Go back to the terminal; this page can be closed.');
      return result;
    } catch (error) {
      await say(response, 400, 'You are not signed in', 'The terminal says why; this page can be closed.');
      throw error;
    }
  } finally {
    clearTimeout(timer);
    listener.close();
    listener.closeAllConnections();
  }
}

/** A desktop opens files and programs as well, and a password crosses no network in the clear. */
function refuseOpen({ protocol, hostname }: URL): void {
  const local = ['127.0.0.1', '[::1]', 'localhost'].includes(hostname);
  if (protocol === 'https:' || (protocol === 'http:' && local)) return;
  throw failed('the page to sign in at is not https: nobody is sent there');
}

function answerTo(
  { redirectUri, state }: { redirectUri: string; state: string },
  { method, url }: IncomingMessage,
): URL | undefined {
  const asked = URL.parse(url ?? '', redirectUri);
  const isBack = method === 'GET' && asked !== null && asked.origin + asked.pathname === redirectUri;
  return isBack && asked.searchParams.get('state') === state ? asked : undefined;
}

/** Resolves when the browser has it, or is gone. */
function say(response: ServerResponse, status: number, title: string, sentence: string): Promise<void> {
  const page = `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title>
<main><h1>${title}</h1><p>${sentence}</p></main></html>
`;
  return new Promise((resolve) => {
    response.on('close', resolve);
    response.writeHead(status, HEADERS).end(page);
  });
}
