import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Provider } from 'oidc-provider';
import type { Surface } from '../resources/spec.ts';
import { isLoopbackHost } from './client-metadata.ts';
import type { ClientRecord } from './clients.ts';
import type { Grants } from './grants.ts';
import type { Target } from './requested-access.ts';
import { SCOPES, type Scope, surfacesOfScopes } from './scopes.ts';

/**
 * What a person has to do before an authorization request can go on: sign in (`/sign-in/{uid}`), or decide
 * (`/consent/{uid}`). Each path carries a cookie of its own, so that several requests of one browser run side by side;
 * a page that is opened in another browser finds nothing.
 */
export type Interaction = {
  uid: string;
  prompt: 'login' | 'consent';
  client: InteractionClient;
  access: RequestedAccess;
  /** Who is signed in at this browser; always given where there is something to decide. */
  userEmail?: string;
  /** The client wants the password proven now, whoever is signed in. */
  freshLogin: boolean;
};

export type InteractionClient = {
  id: string;
  name: string;
  source: ClientRecord['source'];
  /** Host of the redirect URI, with its port; the scheme of a private-use one. Undefined for a device. */
  redirectHost?: string;
  /** It redirects to this machine alone: any program on it can claim to be this client. */
  localOnly: boolean;
  /** It redirects to a scheme of its own, which any program may have taken. */
  privateScheme: boolean;
};

export type RequestedAccess = {
  /** Undefined: everything, which only the scope `api` asks for. */
  project?: string;
  surfaces: readonly Surface[];
  scopes: readonly Scope[];
};

/** What came of it. A user is signed in only when the browser's own session says so, or is about to. */
export type InteractionResult = { login: { email: string } } | { consent: true } | { deny: true };

export type InteractionDeps = {
  /** The provider of the name that the request came to; undefined where nobody signs in. */
  providerOf(req: IncomingMessage): Provider | undefined;
  client(id: string): Promise<ClientRecord | undefined>;
  target(indicator: string): Target | undefined;
  openTo(client: ClientRecord, target: Target): readonly Scope[] | undefined;
  grants: Grants;
  userUid(email: string): string | undefined;
  userEmail(uid: string): string | undefined;
  /** E-mail of who is signed in at the browser. */
  browserUser(req: IncomingMessage): Promise<string | undefined>;
};

type Stored = InstanceType<Provider['Interaction']>;
/** A stored request, with everything that is known about it. */
type Known = { stored: Stored; record: ClientRecord; target: Target; scopes: Scope[] };

/** Requests for access that wait for a person. */
export class Interactions {
  readonly #deps: InteractionDeps;

  constructor(deps: InteractionDeps) {
    this.#deps = deps;
  }

  /** Undefined: it is over, it was never there, or another browser or user began it. */
  async details(req: IncomingMessage, res: ServerResponse, uid: string): Promise<Interaction | undefined> {
    const known = await this.#find(req, res, uid);
    if (!known) return undefined;
    const { stored, record, target, scopes } = known;
    const userEmail = await this.#deps.browserUser(req);
    return {
      uid,
      prompt: stored.prompt.name === 'login' ? 'login' : 'consent',
      client: clientShown(record, String(stored.params.redirect_uri)),
      access: accessShown(target, scopes),
      ...(userEmail !== undefined && { userEmail }),
      freshLogin: stored.prompt.reasons.includes('login_prompt'),
    };
  }

  /** Answers 303, back to the client or to what is still to do; false, and no answer, where `details` finds nothing. */
  async finish(
    req: IncomingMessage,
    res: ServerResponse,
    uid: string,
    result: InteractionResult,
  ): Promise<boolean> {
    const known = await this.#find(req, res, uid);
    if (!known) return false;
    const { stored } = known;
    if ('deny' in result) stored.result = { error: 'access_denied', error_description: 'the user said no' };
    else if ('login' in result) {
      const accountId = this.#deps.userUid(result.login.email);
      if (accountId === undefined) return false;
      stored.result = { login: { accountId } };
    } else {
      const userUid = stored.session?.accountId;
      if (stored.prompt.name !== 'consent' || userUid === undefined) return false;
      await this.#remember(userUid, known);
      stored.result = { ...stored.lastSubmission, consent: {} };
    }
    await stored.save(stored.exp - Math.floor(Date.now() / 1_000));
    res.writeHead(303, { location: `/authorize/${uid}`, 'cache-control': 'no-store', 'content-length': 0 });
    res.end();
    return true;
  }

  async #remember(userUid: string, { record, target, scopes }: Known): Promise<void> {
    await this.#deps.grants.allow({
      userUid,
      clientId: record.clientId,
      clientName: record.name,
      projectUid: target.projectUid,
      scopes,
    });
  }

  async #find(req: IncomingMessage, res: ServerResponse, uid: string): Promise<Known | undefined> {
    const provider = this.#deps.providerOf(req);
    if (!provider) return undefined;
    const cookies = provider.createContext(req, res).cookies;
    if (cookies.get(provider.cookieName('interaction'), { signed: true }) !== uid) return undefined;
    const stored = await provider.Interaction.find(uid);
    if (!stored || !(await this.#isOfUser(req, stored))) return undefined;
    const { client_id: id, resource, scope } = stored.params;
    const record = await this.#deps.client(String(id));
    const target = this.#deps.target(String(resource));
    const open = record && target && this.#deps.openTo(record, target);
    if (!open) return undefined;
    const scopes = open.filter((one) => String(scope).split(' ').includes(one));
    return { stored, record, target, scopes };
  }

  /** A request that a user has begun goes on under that user alone. */
  async #isOfUser(req: IncomingMessage, { session }: Stored): Promise<boolean> {
    if (session?.accountId === undefined) return true;
    const email = await this.#deps.browserUser(req);
    return email !== undefined && this.#deps.userUid(email) === session.accountId;
  }
}

/** A client as a page shows it. */
export function clientShown(record: ClientRecord, redirectUri?: string): InteractionClient {
  const url = redirectUri === undefined ? null : URL.parse(redirectUri);
  const isWeb = url?.protocol === 'https:' || url?.protocol === 'http:';
  return {
    id: record.clientId,
    name: record.name,
    source: record.source,
    ...(url && { redirectHost: isWeb ? url.host : url.protocol }),
    localOnly: isWeb && isLoopbackHost(url.hostname),
    privateScheme: url !== null && !isWeb,
  };
}

export function accessShown({ project }: Target, scopes: readonly Scope[]): RequestedAccess {
  return {
    ...(project !== undefined && { project }),
    surfaces: [...surfacesOfScopes(scopes)],
    scopes: SCOPES.filter((scope) => scopes.includes(scope)),
  };
}
