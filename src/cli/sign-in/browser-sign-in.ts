import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { SignIn } from '../contexts.ts';
import { failed } from '../exit.ts';
import type { VerbContext } from '../verbs.ts';
import { openPage } from './desktop-browser.ts';
import type { PendingSignIn, SignInServer } from './sign-in-server.ts';

/** As long as the server waits for somebody. */
const PATIENCE_MS = 600_000;
const HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  connection: 'close',
};

/**
 * Signs in at a browser on this machine, which comes back to a port that is open on loopback meanwhile (RFC 8252
 * section 7.3). Whatever comes there without the state of this very sign-in is turned away, and changes nothing.
 */
export async function signInByBrowser(
  server: SignInServer,
  { terminal, env }: Pick<VerbContext, 'terminal' | 'env'>,
): Promise<SignIn> {
  const back = Promise.withResolvers<{ query: URLSearchParams; response: ServerResponse }>();
  let pending: PendingSignIn | undefined;
  const listener = createServer((request, response) => {
    const query = pending && answerTo(pending, request);
    if (query) back.resolve({ query, response });
    else
      void say(response, 404, 'Nothing waits for this', 'It is no answer to the sign-in that goes on here.');
  });
  await new Promise<void>((resolve, reject) => {
    listener.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  const timer = setTimeout(
    () => back.reject(failed('nobody signed in within ten minutes: run castellan login again')),
    PATIENCE_MS,
  );
  try {
    const { port } = listener.address() as AddressInfo;
    pending = await server.begin(`http://127.0.0.1:${port}/callback`);
    terminal.note(`Open this page in a browser on this machine (elsewhere: --device):\n\n  ${pending.url}\n`);
    openPage(pending.url, env);
    const { query, response } = await back.promise;
    try {
      const signIn = await server.redeem(query, pending);
      await say(response, 200, 'You are signed in', 'Go back to the terminal; this page can be closed.');
      return signIn;
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

function answerTo({ redirectUri, state }: PendingSignIn, { method, url }: IncomingMessage) {
  const asked = URL.parse(url ?? '', redirectUri);
  const isBack = method === 'GET' && asked !== null && asked.origin + asked.pathname === redirectUri;
  return isBack && asked.searchParams.get('state') === state ? asked.searchParams : undefined;
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
