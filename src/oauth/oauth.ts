import type { IncomingMessage } from 'node:http';
import type { Audit } from '../audit/audit.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { messageOf } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { KeptCaller } from '../identity/absent-callers.ts';
import type { Authorizer } from '../identity/authorizer.ts';
import type { Tokens } from '../identity/tokens.ts';
import type { ClientFields } from '../resources/client-fields.ts';
import type { ResourceObject } from '../resources/objects.ts';
import type { Resources } from '../resources/registry.ts';
import type { Snapshot } from '../resources/spec.ts';
import type { Store } from '../store/database.ts';
import { AccessTokens } from './access-tokens.ts';
import { Artifacts } from './artifacts.ts';
import type { AuthorizationServer, BrowserUser } from './authorization-server.ts';
import { BuiltInClients } from './built-in-clients.ts';
import { type ClientSource, Clients } from './clients.ts';
import { Grants } from './grants.ts';
import { Issuers } from './issuers.ts';
import type { RegistrationWays } from './metadata.ts';
import { isRegistered, RegisteredClients } from './registered-clients.ts';
import { surfacesOfScopes } from './scopes.ts';

export type OAuthOptions = {
  store: Store;
  resources: Resources;
  tokens: Tokens;
  audit: Audit;
  publicUrl: string | undefined;
  /** Whether only this machine reaches the server. */
  loopback: boolean;
  authorizer: Authorizer;
  /** Clients that nobody registered here, beside those that were. */
  otherClients: readonly ClientSource[];
  /** How others become clients. */
  ways: RegistrationWays;
  accessTokenTtlMs: number;
  browserUser(req: IncomingMessage): Promise<BrowserUser | undefined>;
  addressOf(req: IncomingMessage): string;
  /** What limits count as one. */
  networkOf(req: IncomingMessage): string;
  /** A page that says why somebody cannot be sent back to the client that sent them, HTML. */
  errorPage(sentence: string): Promise<string>;
  logger: Logger;
  now?: () => number;
};

/** Everything about access by OAuth that one process has. Only `server` loads the provider. */
export class OAuth {
  readonly issuers: Issuers;
  readonly ways: RegistrationWays;
  readonly clients: Clients;
  readonly grants: Grants;
  readonly accessTokens: AccessTokens;
  readonly #options: OAuthOptions;
  readonly #artifacts: Artifacts;
  readonly #unlisten: () => void;
  #server: Promise<AuthorizationServer> | undefined;

  constructor(options: OAuthOptions) {
    const { store, resources, audit, logger, now = Date.now } = options;
    this.#options = options;
    this.ways = options.ways;
    this.issuers = new Issuers(options);
    const registered = new RegisteredClients(store, resources, options.authorizer);
    this.clients = new Clients([new BuiltInClients(), registered, ...options.otherClients]);
    this.#artifacts = new Artifacts(store, logger, now);
    this.grants = new Grants({ store, resources, artifacts: this.#artifacts, audit, now });
    this.accessTokens = new AccessTokens({
      ...{ store, resources, logger, now },
      answering: (clientId, user, kind) => registered.answering(clientId, user, kind),
    });
    this.#artifacts.onEnded(() => this.accessTokens.forget());
    this.#unlisten = resources.feed.onChanges((changes) => {
      for (const { before, now: after } of changes)
        if (before?.kind === 'OAuthClient') this.#clientChanged(before, after);
        else if (before && after?.metadata.uid !== before.metadata.uid) this.#objectGone(before);
    });
  }

  async isSignedIn(req: IncomingMessage): Promise<boolean> {
    return (await this.#options.browserUser(req)) !== undefined;
  }

  networkOf(req: IncomingMessage): string {
    return this.#options.networkOf(req);
  }

  snapshot(): Snapshot {
    return this.#options.resources.snapshot();
  }

  /** Loaded when somebody first asks for it. */
  server(): Promise<AuthorizationServer> {
    this.#server ??= import('./authorization-server.ts').then(({ AuthorizationServer }) => {
      const { issuers, clients, grants } = this;
      return new AuthorizationServer({
        ...this.#options,
        issuers,
        clients,
        grants,
        artifacts: this.#artifacts,
      });
    });
    return this.#server;
  }

  /** The store stays open. */
  async close(): Promise<void> {
    this.#unlisten();
    await this.accessTokens.close();
    await this.#artifacts.close();
  }

  /** Whether what a client had when it asked for something is still there: its token, or the consent behind it. */
  async stillActs(kept: KeptCaller): Promise<boolean> {
    const { principal, ownerUid, credentialId, projectUid, surfaces } = kept;
    if (credentialId !== undefined && (await this.accessTokens.lives(credentialId))) return true;
    const grants = await this.grants.list(ownerUid);
    return grants.some(
      (grant) =>
        principal === `OAuthClient:${grant.clientId}` &&
        (grant.projectUid === undefined || grant.projectUid === projectUid) &&
        surfaces.every((surface) => surfacesOfScopes(grant.scopes).has(surface)),
    );
  }

  /** Ends what clients have that left their file while no process ran. */
  async endLostClients(): Promise<void> {
    const { resources } = this.#options;
    for (const id of await this.grants.clientIds())
      if (isRegistered(id) && !resources.get('OAuthClient', id)) await this.grants.endClient(id);
  }

  /**
   * One that is gone, from the API or from a file, leaves nothing to a namesake; one with other access begins anew. One
   * that leads elsewhere asks anew: whoever may change it must not get what people allowed it as it was.
   */
  #clientChanged(before: ResourceObject, now: ResourceObject | undefined): void {
    const clientId = before.metadata.name;
    const access = ({ spec }: ResourceObject) =>
      canonicalJson([spec.user, spec.autoApprove, spec.project, spec.scopes].map((value) => value ?? null));
    let ending: Promise<void> | undefined;
    const known = new Set(redirectsOf(before));
    const leadsElsewhere = now !== undefined && redirectsOf(now).some((uri) => !known.has(uri));
    if (now?.metadata.uid !== before.metadata.uid || leadsElsewhere) ending = this.grants.endClient(clientId);
    else if (access(now) !== access(before)) ending = this.#artifacts.endParty({ clientId });
    if (ending) this.#told(ending, `the tokens of client ${clientId} were not ended`);
  }

  /** What users allowed goes with them, and what was allowed in a project with that. */
  #objectGone({ kind, metadata: { name, uid = '' } }: ResourceObject): void {
    if (kind !== 'User' && kind !== 'Project') return;
    const of = kind === 'User' ? { userUid: uid } : { projectUid: uid };
    this.#told(this.grants.endAll(of), `what clients may do for ${kind} ${name} was not ended`);
  }

  #told(ending: Promise<void>, failure: string): void {
    ending.catch((error: unknown) => this.#options.logger.error({ error: messageOf(error) }, failure));
  }
}

function redirectsOf({ spec }: ResourceObject): readonly string[] {
  return (spec as ClientFields).redirectUris ?? [];
}
