import type { Cancellation } from '../base/cancellation.ts';
import { type AuthenticatedCaller, callerKey } from '../identity/caller.ts';
import type { ToolRights } from '../identity/tool-rights.ts';
import type { Issuers } from '../oauth/issuers.ts';
import type { HeaderBag } from '../protocol/headers.ts';
import type { JsonObject, JsonRpcError } from '../protocol/jsonrpc.ts';
import type { NeutralRequest } from '../protocol/model.ts';
import type { ProjectEntry, ProjectSpec, Surface } from '../resources/spec.ts';
import type { Circle } from '../upstream/circle.ts';
import type { CallRecord } from './call-record.ts';
import type { LegacySession } from './sessions.ts';

/** One of a project's two tool sets, as far as somebody may use it at the moment. */
export type Scope = { project: ProjectEntry; surface: Surface; rights: ToolRights };

/** The servers that somebody may use anything of: of the others they are told nothing. */
export function serversOf({ project, surface, rights }: Scope): readonly string[] {
  const servers = surface === 'operator' ? project.spec.operatorServers : project.spec.servers;
  return rights.fingerprint === '' ? servers : servers.filter((name) => rights.reaches(name));
}

/** How a surface shows its tools: operators work with all of theirs at hand. */
export function exposureOf({ project, surface }: Scope): ProjectSpec['exposure'] {
  return surface === 'operator' ? 'full' : project.spec.exposure;
}

/** The stream that belongs to one request, on its way back to the client. */
export type Sink = { notify(method: string, params: JsonObject): void };

/** The request as it came, and how its caller can be sent to a page. */
export type OnHold = {
  /** The body of the request. */
  written: Buffer;
  /** Where the caller's user finds this server; undefined: people cannot sign in here. */
  origin: string | undefined;
  /** Whether a question to the client would reach it. */
  canAsk(): boolean;
};

/** A request with everything that the gateway may decide by. It knows nothing of HTTP. */
export type GatewayRequest = {
  caller: AuthenticatedCaller;
  scope: Scope;
  circle: Circle;
  /** The legacy session that it belongs to. */
  session?: LegacySession | undefined;
  request: NeutralRequest;
  /** Headers that mirror the body and must agree with it; undefined in the era that has none. */
  mirrored: HeaderBag | undefined;
  sink: Sink;
  cancellation: Cancellation;
  /** The `traceparent` header, if there was one. */
  traceparent?: string | undefined;
  /** What the audit will say of it; the gateway sets it. */
  record?: CallRecord;
  /** The Host that it was sent to, and who knows by which name people sign in there. */
  host?: string | undefined;
  issuers?: Pick<Issuers, 'of'>;
  /** What a call needs to be held; only where a policy of the project may hold one. */
  onHold?: OnHold | undefined;
  /** Nobody is there whom its server could ask anything. */
  unattended?: true;
  /** Questions that a legacy client answered with an error, by key. */
  inputErrors?: { readonly [key: string]: JsonRpcError };
};

/** Where the caller's user finds our pages; undefined: people cannot sign in here. */
export function originOf({ host, issuers }: GatewayRequest): string | undefined {
  return issuers?.of(host);
}

/** Whoever asks, and where. */
export type CallerOnSurface = Pick<GatewayRequest, 'caller' | 'scope'>;

/** Ties what is sealed for a caller to that caller on that surface. */
export function callerContext({ caller, scope }: CallerOnSurface): string {
  return `${callerKey(caller)}|${scope.project.uid}|${scope.surface}`;
}
