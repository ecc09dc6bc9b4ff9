import type { IncomingMessage } from 'node:http';
import type { Client } from 'oidc-provider';
import type { KeyedRate } from '../limits/keyed-rate.ts';
import type { KeyRing } from '../store/key-ring.ts';
import type { ClientRecord } from './clients.ts';
import type { Grants } from './grants.ts';
import type { AdapterDeps } from './provider-adapter.ts';
import type { Target } from './requested-access.ts';
import type { SessionUser } from './session-view.ts';

/** What the provider asks of the rest of the house. */
export type ProviderDeps = AdapterDeps & {
  keys: Pick<KeyRing, 'mac'>;
  grants: Grants;
  accessTokenTtlSeconds: number;
  /** Tokens of one authorization, and of one client by itself. */
  issuing: KeyedRate;
  /** Who is at the browser, or whom an administrator lets this client act for without one. */
  userOf(req: IncomingMessage, client: ClientRecord | undefined): Promise<SessionUser | undefined>;
  /** What is told of a token that is none of this server's own. */
  introspectToken(raw: string, client: ClientRecord): Promise<object | undefined>;
  /** A page for a request that cannot be sent back to its client. */
  errorPage(sentence: string): Promise<string>;
  /** Whether a user of that uid may still act. */
  isActiveUser(uid: string): boolean;
  userUid(email: string): string | undefined;
  userEmail(uid: string): string | undefined;
  targetOf(indicator: string): Target | undefined;
  /** The scopes of the target that are open to the client. */
  openTo(client: ClientRecord, target: Target): readonly string[] | undefined;
  defaultIndicator(client: ClientRecord, issuer: string): string | undefined;
};

/** Our own record of a client that the provider found. */
export function recordOf(client: Client): ClientRecord {
  return client.record as ClientRecord;
}
