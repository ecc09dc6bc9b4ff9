/**
 * Who did it: `castellan` is the server itself, `stranger` somebody who proved nothing. `behind` is the principal that
 * acted as this one.
 */
export type AuditActor =
  | { kind: 'user'; user: string; behind?: string | undefined }
  | { kind: 'token'; user: string; token: string; sha: string; behind?: string | undefined }
  | { kind: 'castellan' }
  | { kind: 'stranger' };

/** Where an act comes from: who, by which request, from where. */
export type AuditOrigin = { actor: AuditActor; trace?: string | undefined; address?: string | undefined };

/**
 * `allowed`: it was decided and is about to happen · `ok`, `tool_error`, `error`: it happened, and so it ended ·
 * `input_required`: it waits for answers · `refused`: it did not happen · `told`: something that nobody decided
 */
export const OUTCOMES = [
  'allowed',
  'ok',
  'tool_error',
  'error',
  'input_required',
  'refused',
  'told',
] as const;
export type AuditOutcome = (typeof OUTCOMES)[number];

/**
 * Every event, with the details that may be written as they are. A detail that is not named here is a secret: its row
 * says only that there was one.
 */
export const EVENTS = {
  'audit.opened': ['kind', 'version', 'heads'],
  'audit.damaged': ['found'],
  'audit.lost': ['count', 'since'],
  'audit.pruned': ['chain', 'ordinal', 'upTo', 'count'],
  'server.started': ['version', 'node', 'projects', 'servers'],
  'server.stopped': [],
  'config.reloaded': ['message'],
  'auth.failed': ['count', 'reason', 'since'],
  'auth.refused': ['count', 'reason', 'since'],
  'api.refused': ['count', 'method', 'path', 'reason', 'since'],
  'session.started': ['client', 'count', 'reason', 'revision', 'session', 'since'],
  'session.ended': ['count', 'reason', 'session', 'since'],
  'tool.intent': ['arguments', 'era'],
  'tool.call': ['code', 'rpcCode', 'arguments', 'era', 'policy', 'rule', 'failed', 'approval'],
  'prompt.get': ['code', 'rpcCode', 'name', 'policy', 'rule', 'failed'],
  'resource.read': ['code', 'rpcCode', 'policy', 'rule', 'failed'],
  'task.get': ['code', 'rpcCode'],
  'task.result': ['code', 'rpcCode', 'policy', 'rule', 'failed'],
  'task.update': ['code', 'rpcCode', 'policy', 'rule', 'failed'],
  'task.cancel': ['code', 'rpcCode'],
  'completion.complete': ['code', 'rpcCode', 'policy', 'rule', 'failed'],
  'extension.call': ['code', 'rpcCode', 'method', 'policy', 'rule', 'failed'],
  'tool.appeared': ['fingerprint', 'flags'],
  'tool.changed': ['fingerprint', 'before', 'flags'],
  'tool.disappeared': ['fingerprint'],
  'tool.held': ['fingerprint', 'before', 'why', 'flags'],
  'tool.warned': ['fingerprint', 'before', 'why', 'flags'],
  'tool.accepted': ['fingerprint', 'before', 'flags'],
  'process.started': ['command', 'arguments'],
  'server.connected': ['state'],
  'login.started': ['flow', 'issuer'],
  'login.completed': ['flow', 'issuer', 'scopes'],
  'login.failed': ['flow', 'reason'],
  'login.ended': [],
  'login.lost': ['reason'],
  'resource.created': ['uid', 'version', 'fields', 'fingerprint'],
  'resource.changed': ['uid', 'version', 'fields', 'fingerprint'],
  'resource.deleted': ['uid', 'version'],
  'keys.rotated': ['key'],
  'keys.retired': ['keys'],
  'token.created': ['id', 'prefix', 'surfaces', 'rbac', 'expiresAt', 'parent'],
  'token.rotated': ['id', 'prefix', 'before', 'expiresAt'],
  'token.revoked': ['id', 'prefix'],
  'token.deleted': ['id', 'prefix'],
  'password.link': ['expiresAt'],
  'password.set': ['by'],
  'browser.signed_in': ['session', 'method'],
  'browser.proven': ['session', 'method'],
  'browser.signed_out': ['session'],
  'client.registered': ['name', 'redirects'],
  'client.approved': ['client', 'scopes'],
  'client.rotated': ['uid', 'prefix', 'overlapping', 'until'],
  'grant.created': ['client', 'scopes'],
  'grant.deleted': ['client'],
  'grant.replayed': ['client', 'what'],
  'access.issued': ['client', 'by', 'scopes', 'expiresAt'],
  'access.revoked': ['client', 'what'],
  'approval.requested': ['policy', 'rule', 'expiresAt'],
  'approval.approved': ['way', 'reason'],
  'approval.rejected': ['way', 'reason'],
  'approval.cancelled': ['way', 'reason'],
  'approval.expired': [],
  'approval.voided': ['reason'],
  'approval.settled': ['state'],
  'approval.resolved': ['state', 'way'],
  'approval.untold': ['notice', 'of', 'attempts', 'reason'],
  'ticket.created': ['act', 'as', 'from', 'to', 'provenance', 'fields'],
  'ticket.changed': ['act', 'as', 'from', 'to', 'provenance', 'fields'],
  'calls.frozen': ['reason'],
  'calls.thawed': [],
} as const satisfies Record<string, readonly string[]>;

export type AuditEventName = keyof typeof EVENTS;
/** A detail is JSON; a row keeps 4 KiB of them. */
export type AuditDetail = Readonly<Record<string, unknown>>;

export type AuditEvent = {
  event: AuditEventName;
  outcome: AuditOutcome;
  actor: AuditActor;
  /** Milliseconds since 1970; left out: now. */
  at?: number;
  address?: string | undefined;
  project?: string;
  surface?: string;
  server?: string;
  /** Canonical name, `server__upstreamName`. */
  tool?: string;
  /** `Kind/name` of what was changed. */
  target?: string;
  /** Trace id, 32 hexadecimal digits. */
  trace?: string | undefined;
  durationMs?: number;
  /** Keyed digest of the arguments, or what `ChainKeys.argumentsDigest` has made of them. */
  digest?: string;
  /** Id of the row that announced this one. */
  intent?: string;
  detail?: AuditDetail;
};

/** A change as whoever makes it tells of it: the origin of the request that it belongs to says who that was. */
export type AuditChange = Omit<AuditEvent, 'actor'> & Partial<Pick<AuditEvent, 'actor'>>;
