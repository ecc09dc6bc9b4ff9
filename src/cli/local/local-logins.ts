import { GuardedClient } from '../../net/guarded-client.ts';
import { AuthFile } from '../../vendors/auth-file.ts';
import type { Credential } from '../../vendors/credential.ts';
import type { CredentialTarget } from '../../vendors/credentials.ts';
import { VendorLogins } from '../../vendors/logins.ts';
import { ownAddressesAt } from '../../vendors/registration.ts';
import { credentialTarget } from '../../vendors/targets.ts';
import { VendorHttp } from '../../vendors/vendor-http.ts';
import { credentialOf } from '../../vendors/vendors.ts';
import { configurationFolder } from '../configuration-folder.ts';
import { CommandFailure, Exit, failed } from '../exit.ts';
import type { LoginDesk } from '../login-desk.ts';
import type { VerbContext } from '../verbs.ts';
import { type LocalServer, untrustedText } from './local-servers.ts';

/** Whoever runs this is the only user. */
export const LOCAL_USER = 'local';
/** Nothing has to listen there: what a browser comes back to is pasted. */
const PASTE_PORT = 7300;
/** The file tells who signed in, and nobody else keeps a record here. */
const UNHEARD = { record: () => {}, origin: () => ({ actor: { kind: 'castellan' as const } }) };

const storeOf = (env: VerbContext['env']) => new AuthFile(configurationFolder(env));

/** Signing in for a server of a file, without a Castellan. @throws CommandFailure when it is none to sign in for */
export function localDesk(server: LocalServer, env: VerbContext['env']): LoginDesk {
  const untrusted = untrustedText(server);
  if (untrusted !== undefined) throw new CommandFailure(Exit.notPermitted, untrusted);
  const found = credentialTarget(server.entry, LOCAL_USER);
  if (!found.ok) throw failed(found.error);
  const target = found.value;
  const store = storeOf(env);
  const logins = new VendorLogins({
    store,
    scopes: store,
    http: new VendorHttp(new GuardedClient()),
    own: () => ownAddressesAt(undefined, PASTE_PORT),
    audit: UNHEARD,
    onChange: () => {},
  });
  return {
    begin: (wish) => logins.begin(target, 'redirectUri' in wish ? wish : wish.flow),
    pending: async () => {
      const step = await logins.pending(target);
      if (step) return step;
      throw failed(`no sign-in of ${server.name} is under way`);
    },
    goOn: ({ url, id }) => logins.goOn(target, url, id),
    end: () => logins.end(target),
    flags: ' --local',
  };
}

/** What a server of a file is proven to with. */
export function localCredential(target: CredentialTarget, env: VerbContext['env']): Credential {
  const store = storeOf(env);
  const http = new VendorHttp(new GuardedClient());
  return credentialOf(target, { store, scopes: store, http, onLost: () => {} });
}

/** Which of the servers has a sign-in under way, and which one somebody signed in for, by the uids of their entries. */
export async function localStandings(
  servers: readonly LocalServer[],
  env: VerbContext['env'],
): Promise<ReadonlyMap<string, 'signed in' | 'signing in' | 'needs login'>> {
  const store = storeOf(env);
  const underWay = new Set((await store.underWay()).map(({ server }) => server));
  const standings = new Map<string, 'signed in' | 'signing in' | 'needs login'>();
  for (const { entry } of servers) {
    const target = credentialTarget(entry, LOCAL_USER);
    if (!target.ok) continue;
    const { uid, owner } = target.value;
    const kept = await store.read({ server: uid, owner });
    const without = underWay.has(uid) ? 'signing in' : 'needs login';
    standings.set(uid, kept && kept.lost === undefined ? 'signed in' : without);
  }
  return standings;
}
