import type { IncomingMessage, ServerResponse } from 'node:http';
import { Refusal } from '../base/errors.ts';
import type { Scope } from '../gateway/scope.ts';
import type { Authorizer } from '../identity/authorizer.ts';
import type { AuthenticatedCaller } from '../identity/caller.ts';
import type { Issuers } from '../oauth/issuers.ts';
import { challenge, resourceMetadataUrl } from '../oauth/metadata.ts';
import { resourceAt } from '../oauth/protected-resources.ts';
import { scopeOfSurface } from '../oauth/scopes.ts';
import type { Snapshot, Surface } from '../resources/spec.ts';
import type { CredentialCheck } from './credential-check.ts';
import type { EndpointAudit } from './endpoint-audit.ts';
import { refuseHttp } from './refused-requests.ts';

export type AdmissionDeps = {
  credentials: CredentialCheck;
  audit: EndpointAudit;
  authorizer: Authorizer;
  issuers: Issuers;
  snapshot(): Snapshot;
};

/** One POST, GET or DELETE with a proven caller on a surface that is open to it. */
export type Admitted = {
  req: IncomingMessage;
  res: ServerResponse;
  caller: AuthenticatedCaller;
  scope: Scope;
  /** Kept where a policy may want to see it to the character. */
  written?: Buffer;
};

const BEARER = /^Bearer +([\x21-\x7e]+) *$/i;
const CREDENTIAL_ENDED = 'This credential has ended since the call began';

/** Who is let in to a surface: every request is, before anything else of it is read. */
export class Admission {
  private readonly deps: AdmissionDeps;

  constructor(deps: AdmissionDeps) {
    this.deps = deps;
  }

  /** Undefined: it was refused, and is answered. Without waiting where the caller was proven a moment ago. */
  admit(
    req: IncomingMessage,
    res: ServerResponse,
    project: string,
    surface: Surface,
  ): Admitted | undefined | Promise<Admitted | undefined> {
    const raw = bearerOf(req);
    const known = raw === undefined ? undefined : this.deps.credentials.known(req, raw);
    return known
      ? this.enter(req, res, known, project, surface)
      : this.authenticate(req, res, raw, surface).then(
          (caller) => caller && this.enter(req, res, caller, project, surface),
        );
  }

  /** Who asks and what is open to them, as it is now: a call may have waited for minutes. A sentence: nothing is. */
  async again({ req, scope }: Admitted): Promise<{ caller: AuthenticatedCaller; scope: Scope } | string> {
    try {
      const caller = await this.deps.credentials.again(req, bearerOf(req) ?? '');
      if (!caller) return CREDENTIAL_ENDED;
      const open = this.scopeOf(caller, scope.project.name, scope.surface);
      return typeof open === 'string' ? open : { caller, scope: open };
    } catch (error) {
      if (error instanceof Refusal) return error.message;
      throw error;
    }
  }

  private enter(
    req: IncomingMessage,
    res: ServerResponse,
    caller: AuthenticatedCaller,
    project: string,
    surface: Surface,
  ): Admitted | undefined {
    const scope = this.scopeOf(caller, project, surface);
    if (typeof scope !== 'string') return { req, res, caller, scope };
    this.deps.audit.closed(req, caller, project, scope);
    const lacksScope = caller.principal.startsWith('OAuthClient:') && !caller.surfaces.has(surface);
    const headers = { 'www-authenticate': this.challenge(req, surface, 'insufficient_scope') };
    refuseHttp(res, 403, scope, lacksScope ? headers : {});
    return undefined;
  }

  private async authenticate(
    req: IncomingMessage,
    res: ServerResponse,
    raw: string | undefined,
    surface: Surface,
  ): Promise<AuthenticatedCaller | undefined> {
    const header = req.headers.authorization;
    let reason = header === undefined ? 'no credential' : 'no bearer token';
    if (raw !== undefined) {
      const proven = await this.deps.credentials.check(req, raw);
      if (proven.ok) return this.deps.credentials.acting(req, proven.value);
      if (proven.error === 'too many') {
        this.deps.audit.unknown(req, proven.error);
        const wait = { 'retry-after': String(proven.retryAfterSeconds) };
        refuseHttp(res, 429, 'Too many wrong credentials came from this address; wait and retry', wait);
        return undefined;
      }
      reason = proven.error;
    }
    this.deps.audit.unknown(req, reason);
    const sentence =
      header === undefined
        ? 'A bearer token is required'
        : 'The bearer token is unknown, expired or revoked, or was cut when it was copied';
    const fault = header === undefined ? undefined : 'invalid_token';
    refuseHttp(res, 401, sentence, { 'www-authenticate': this.challenge(req, surface, fault) });
    return undefined;
  }

  /** Where to get what the request lacks; the metadata is of the very URL that was asked. */
  private challenge(req: IncomingMessage, surface: Surface, error?: Parameters<typeof challenge>[2]): string {
    const issuer = this.deps.issuers.of(req.headers.host);
    const [path = ''] = (req.url ?? '').split('?', 1);
    const named = issuer !== undefined && resourceAt(path) !== undefined;
    const metadata = named ? resourceMetadataUrl(issuer, path) : undefined;
    return challenge(metadata, scopeOfSurface(surface), error);
  }

  /** Another project and one that does not exist are refused alike. */
  private scopeOf(caller: AuthenticatedCaller, name: string, surface: Surface): Scope | string {
    const project = this.deps.snapshot().projects.get(name);
    const own = project !== undefined && (caller.project === '*' || caller.projectUid === project.uid);
    if (!own) return 'This credential does not open this project';
    return caller.surfaces.has(surface)
      ? { project, surface, rights: this.deps.authorizer.toolRights(caller, name) }
      : `This credential does not open the ${surface} surface`;
  }
}

function bearerOf({ headers }: IncomingMessage): string | undefined {
  const header = headers.authorization;
  return header === undefined ? undefined : BEARER.exec(header)?.[1];
}
