import type { SignIn } from '../contexts.ts';
import { failed } from '../exit.ts';
import type { VerbContext } from '../verbs.ts';
import { throughBrowser } from './loopback-return.ts';
import type { PendingSignIn, SignInServer } from './sign-in-server.ts';

/** Signs in at a browser on this machine. */
export async function signInByBrowser(
  server: SignInServer,
  context: Pick<VerbContext, 'terminal' | 'env'>,
): Promise<SignIn> {
  let pending: PendingSignIn | undefined;
  const begin = async (redirectUri: string) => {
    pending = await server.begin(redirectUri);
    return pending;
  };
  const finish = ({ searchParams }: URL) => {
    if (!pending) throw failed('nothing was begun');
    return server.redeem(searchParams, pending);
  };
  return throughBrowser({ begin, finish, again: 'castellan login again' }, context);
}
