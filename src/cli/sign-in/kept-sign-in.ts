import { messageOf } from '../../base/errors.ts';
import { Contexts, type ServerContext, type SignIn } from '../contexts.ts';
import { CommandFailure, Exit } from '../exit.ts';
import type { Terminal } from '../terminal.ts';
import type { VerbContext } from '../verbs.ts';

/** A token that ends within this time is renewed before it is used. */
const EARLY_MS = 30_000;

/**
 * An access token of the sign-in that a context keeps. One that has ended, or that its server has `refused`, is renewed
 * first: by one process at a time, so that the others find what it got.
 * @throws CommandFailure when the sign-in has ended, or its server cannot be reached
 */
export async function accessTokenOf(
  context: { name: string; server: URL; signIn: SignIn },
  env: VerbContext['env'],
  refused: string | undefined,
): Promise<string> {
  const { name, server } = context;
  if (isUsable(context.signIn, refused)) return context.signIn.accessToken;
  return Contexts.change(env, async (contexts) => {
    const kept = contexts.all.get(name);
    if (!kept?.signIn || kept.server !== server.origin) throw signedOut(name);
    if (isUsable(kept.signIn, refused)) return kept.signIn.accessToken;
    const { SignInServer } = await import('./sign-in-server.ts');
    const signIn = await (await SignInServer.find(server)).refresh(kept.signIn).catch((error: unknown) => {
      throw error instanceof CommandFailure && error.exitCode === Exit.notPermitted ? signedOut(name) : error;
    });
    contexts.all.set(name, { server: kept.server, signIn });
    return signIn.accessToken;
  });
}

/**
 * Ends the sign-in of a context that keeps it no more at its server, too. False, and a warning, when the server cannot be
 * told.
 */
export async function endSignIn(context: ServerContext | undefined, terminal: Terminal): Promise<boolean> {
  if (!context?.signIn) return true;
  const { server, signIn } = context;
  try {
    const { SignInServer } = await import('./sign-in-server.ts');
    await (await SignInServer.find(new URL(server))).revoke(signIn);
    return true;
  } catch (error) {
    terminal.warn(
      `the sign-in is forgotten here but has not ended, ${messageOf(error)}: end it at ${server}/account`,
    );
    return false;
  }
}

function isUsable({ accessToken, expiresAt }: SignIn, refused: string | undefined): boolean {
  return accessToken !== refused && expiresAt - Date.now() > EARLY_MS;
}

function signedOut(name: string): CommandFailure {
  const fix = `run castellan login --context ${name}`;
  return new CommandFailure(Exit.notPermitted, `the sign-in of context ${name} has ended: ${fix}`);
}
