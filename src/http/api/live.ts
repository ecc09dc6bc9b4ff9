import type { AuthenticatedCaller } from '../../identity/caller.ts';
import type { Unaccepted } from '../../pins/pinned.ts';
import type { Finding, FindingKind } from '../../pins/suspicious-text.ts';
import type { JsonObject } from '../../protocol/jsonrpc.ts';
import type { Surface } from '../../resources/spec.ts';

/** A tool as the surfaces of a project show it now. */
export type ToolView = {
  /** `server__upstreamName`: what policies, bindings and audit name. */
  canonical: string;
  /** What agents see and call. */
  name: string;
  server: string;
  surface: Surface;
  description?: string;
  /** SHA-256 of the definition, hexadecimal. */
  fingerprint: string;
  /** `held`: neither listed nor called before the definition is accepted; `warned`: listed although it is not. */
  state: 'accepted' | 'held' | 'warned';
  /** Why the definition is not accepted. */
  why?: Unaccepted;
  /** What stands out in the definition. */
  flags: FindingKind[];
};

export type ShownTool = ToolView & { definition: JsonObject };

export type ToolDetail = ShownTool & {
  findings: Finding[];
  /** That the project has seen, the newest first; none of a built-in tool. */
  definitions: {
    fingerprint: string;
    /** Missing where it was too long to be kept. */
    definition?: JsonObject;
    /** ISO 8601, as all times here. */
    seenAt: string;
    /** Missing while it waits. */
    acceptedAt?: string;
    /** The principal; missing where the first use was trusted. */
    acceptedBy?: string;
  }[];
};

export type ToolList = {
  items: ShownTool[];
  /** Servers of the project whose tools are missing here, or old. */
  degraded: { server: string; reason: string }[];
  /** Why the list is empty. */
  note?: string;
};

export type ServerState =
  | 'disconnected'
  | 'connecting'
  | 'connected'
  | 'needs_auth'
  | 'failed'
  | 'stopping'
  /** Its configuration does not resolve; `lastError` says why. */
  | 'broken';

export type ServerStatus = {
  name: string;
  state: ServerState;
  transport: 'stdio' | 'http' | 'sse' | 'builtin' | undefined;
  /** Revision in use, or the last verdict of the probe. */
  protocol?: string;
  /** When that verdict was reached, ISO 8601. */
  protocolSince?: string;
  connections: number;
  /** In the last list; undefined before the first. */
  tools?: number;
  lastError?: string;
  /** A sign-in under way, and the command that finishes it. */
  login?: { flow: string; expiresAt: string; command: string };
};

export type ConnectionView = {
  state: ServerState;
  /** Whose it is under isolation `user` or `session`. */
  owner?: string;
  pid?: number;
  /** ISO 8601. */
  connectedAt?: string;
  inFlight?: number;
};

export type ServerDetail = ServerStatus & {
  connectionList: ConnectionView[];
  /** Last lines that the process wrote to stderr, oldest first. */
  stderr: string[];
};

/** What the running gateway knows. `status` and `serverStatus` answer from memory, whatever is dialling. */
export interface LiveView {
  /** Both surfaces when `surface` is undefined. @throws Refusal `not_found` for an unknown project */
  tools(caller: AuthenticatedCaller, project: string, surface: Surface | undefined): Promise<ToolList>;
  status(): ServerStatus[];
  /** Undefined for an unknown server. */
  serverStatus(name: string): ServerDetail | undefined;
  /** Dials it for the caller, or finds it connected. @throws Refusal `unavailable` with the reason */
  connect(caller: AuthenticatedCaller, name: string): Promise<ServerStatus>;
}
