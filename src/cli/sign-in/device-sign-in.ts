import { setTimeout as delay } from 'node:timers/promises';
import type { SignIn } from '../contexts.ts';
import { failed } from '../exit.ts';
import type { Terminal } from '../terminal.ts';
import type { SignInServer } from './sign-in-server.ts';

/** Where the server names none (RFC 8628 section 3.2). */
const INTERVAL_SECONDS = 5;
/** What a server that is asked too often has added to it. */
const SLOWER_SECONDS = 5;

/** Signs in at a browser anywhere: somebody enters there the code that is shown here (RFC 8628). */
export async function signInByDevice(server: SignInServer, terminal: Terminal): Promise<SignIn> {
  const pending = await server.beginDevice();
  const { user_code: code, verification_uri: page, verification_uri_complete: whole } = pending;
  terminal.note(`Open this page in any browser and enter the code ${code}:\n\n  ${page}\n`);
  if (whole !== undefined) terminal.note(`Or, with the code in it:\n\n  ${whole}\n`);
  const endsAt = performance.now() + pending.expires_in * 1000;
  let seconds = pending.interval ?? INTERVAL_SECONDS;
  while (performance.now() < endsAt) {
    await delay(seconds * 1000);
    const answer = await server.askDevice(pending);
    if (typeof answer === 'object') return answer;
    if (answer === 'slower') seconds += SLOWER_SECONDS;
  }
  throw failed('nobody entered the code in time: run castellan login --device again');
}
