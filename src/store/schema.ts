import type { Generated } from 'kysely';
import type {
  BrowserSessionsTable,
  ExternalIdentitiesTable,
  McpTokensTable,
  OauthArtifactsTable,
  OauthClientDocumentsTable,
  OauthClientSecretsTable,
  OauthClientSponsorsTable,
  OauthDynamicClientsTable,
  OauthGrantsTable,
  PasswordLinksTable,
  PasswordsTable,
  UsedStatesTable,
} from './schema-people.ts';

/**
 * The tables as the code sees them; the same columns in SQLite and PostgreSQL. Times are milliseconds since 1970
 * (UTC). JSON is kept as text. Each table's owner is the folder that names it.
 */
export interface Schema {
  meta: MetaTable;
  mcp_tokens: McpTokensTable;
  resources: ResourcesTable;
  sessions: SessionsTable;
  freezes: FreezesTable;
  audit_manifest: AuditManifestTable;
  audit_chains: AuditChainsTable;
  audit_events: AuditEventsTable;
  tool_sightings: ToolSightingsTable;
  data_keys: DataKeysTable;
  secret_values: SecretValuesTable;
  passwords: PasswordsTable;
  password_links: PasswordLinksTable;
  browser_sessions: BrowserSessionsTable;
  external_identities: ExternalIdentitiesTable;
  used_states: UsedStatesTable;
  oauth_client_secrets: OauthClientSecretsTable;
  oauth_client_sponsors: OauthClientSponsorsTable;
  oauth_client_documents: OauthClientDocumentsTable;
  oauth_dynamic_clients: OauthDynamicClientsTable;
  oauth_grants: OauthGrantsTable;
  oauth_artifacts: OauthArtifactsTable;
  approvals: ApprovalsTable;
  approval_notices: ApprovalNoticesTable;
  approval_clock: ApprovalClockTable;
  tickets: TicketsTable;
  ticket_history: TicketHistoryTable;
  ticket_links: TicketLinksTable;
  ticket_words: TicketWordsTable;
  upstream_credentials: UpstreamCredentialsTable;
  upstream_logins: UpstreamLoginsTable;
  upstream_scopes: UpstreamScopesTable;
  pinned_servers: PinnedServersTable;
  tool_pins: ToolPinsTable;
}

/** Facts about this database itself. */
export interface MetaTable {
  key: string;
  value: string;
}

/** Owner: resources. */
export interface ResourcesTable {
  kind: string;
  name: string;
  uid: string;
  /** The spec as written, JSON. */
  spec: string;
  /** JSON object. */
  labels: Generated<string>;
  resource_version: number;
  created_at: number;
  updated_at: number;
}

/** Owner: freezes. */
export interface FreezesTable {
  /** Name of a project; `*` is every project. */
  scope: string;
  reason: string;
  /** A principal. */
  frozen_by: string;
  frozen_at: number;
}

/** Owner: gateway. Legacy sessions; the id itself is sealed state that the client holds. */
export interface SessionsTable {
  /** A tag of the principal, and the SHA-256 of the session's handle, hex; or `floor`: see session-rows.ts. */
  id_hash: string;
  created_at: number;
  expires_at: number;
  ended_at: number | null;
  log_level: string | null;
  /** JSON array of resource URIs. */
  subscriptions: string;
  /** The process on whose connections servers keep state for it; null while none does. */
  holder: string | null;
  /** When it said what its task is; null before, and where nobody asks. */
  begun_at: number | null;
}

/** Owner: audit. The one row that says which chains there are. */
export interface AuditManifestTable {
  id: number;
  first_ordinal: number;
  last_ordinal: number;
  seal: string;
}

/** Owner: audit. A chain of rows that one writer of one process made. */
export interface AuditChainsTable {
  id: string;
  ordinal: number;
  /** `calls` or `changes`. */
  kind: string;
  opened_at: number;
  /** The last row: its sequence and its hash. */
  head_seq: number;
  head_hash: string;
  head_seal: string;
  /** The last row that retention took away; sequence 0 while there is none. */
  base_seq: number;
  base_hash: string;
  base_seal: string;
}

/** Owner: audit. */
export interface AuditEventsTable {
  chain: string;
  seq: number;
  at: number;
  event: string;
  outcome: string;
  /** `user`, `token`, `castellan` or `stranger`. */
  actor: string;
  user_name: string | null;
  token_name: string | null;
  token_sha: string | null;
  /** The principal that acted as the actor. */
  behind: string | null;
  address: string | null;
  project: string | null;
  surface: string | null;
  server: string | null;
  tool: string | null;
  /** `Kind/name` of what was changed. */
  target: string | null;
  trace: string | null;
  duration_ms: number | null;
  digest: string | null;
  /** Id of the row that announced this one. */
  intent: string | null;
  /** JSON object. */
  detail: string | null;
  hash: string;
}

/** Owner: audit. Which definition of each tool was told of last, so that a restart tells nothing twice. */
export interface ToolSightingsTable {
  server: string;
  tool: string;
  fingerprint: string;
  seen_at: number;
}

/** Owner: pins. Servers whose tools a project has listed. */
export interface PinnedServersTable {
  project_uid: string;
  server_uid: string;
  /** Grows with every change of what is pinned of the server here. */
  version: number;
  pinned_at: number;
}

/** Owner: pins. Definitions of tools that a project has seen, accepted or waiting for it. */
export interface ToolPinsTable {
  project_uid: string;
  server_uid: string;
  /** As the server calls it. */
  tool: string;
  fingerprint: string;
  /** JSON; null where it was too long to be kept. */
  definition: string | null;
  seen_at: number;
  accepted_at: number | null;
  /** A principal; null while it waits, and where the first use was trusted. */
  accepted_by: string | null;
}

/** Owner: store. The keys that seal, each wrapped by the master key; number 0 is the master key itself. */
export interface DataKeysTable {
  number: number;
  /** Of the key, as sealed texts carry it: 8 hexadecimal digits. */
  key_id: string;
  /** Null for number 0, and once retired. */
  wrapped: string | null;
  created_at: number;
  /** When it began to seal; null while the other processes get to know it. */
  active_at: number | null;
  /** When it ceased to open. */
  retired_at: number | null;
}

/** Owner: resources. The values of Secret objects; their rows in `resources` name the keys alone. */
export interface SecretValuesTable {
  secret_uid: string;
  name: string;
  /** Of the key that it is sealed under. */
  key_id: string;
  sealed: string;
}

/** Owner: approvals. Calls that a policy holds until somebody decides. */
export interface ApprovalsTable {
  id: string;
  /** SHA-256 of what was asked, hex; at most one active row has it. */
  identity: string;
  state: string;
  project: string;
  project_uid: string;
  surface: string;
  server: string;
  /** Canonical name. */
  tool: string;
  principal: string;
  /** E-mail of the user that the principal belongs to. */
  owner: string;
  /** JSON: the caller, without anything that proves it. */
  requester: string;
  /** Sealed; canonical JSON. */
  arguments: string;
  /** JSON: the tool as its server described it. */
  definition: string;
  fingerprint: string;
  /** JSON: which rule held the call, and the version of its policy. */
  policy: string;
  /** JSON: what that rule says about deciding. */
  terms: string;
  requested_at: number;
  expires_at: number;
  changed_at: number;
  decided_at: number | null;
  /** A principal. */
  decided_by: string | null;
  decided_way: string | null;
  reason: string | null;
  /** Names the one execution. */
  execution: string | null;
  /** Whoever executes is taken for dead from then on. */
  lease_until: number | null;
  executed_at: number | null;
  settled_at: number | null;
  /** Sealed; JSON. */
  outcome: string | null;
  delivered_at: number | null;
  /** When whoever is told of it is reminded next; null: never again. */
  remind_at: number | null;
  /** How often they were. */
  reminders: Generated<number>;
}

/** Owner: approvals. One row: the time by which approvals expire, as it was last; SQLite alone. */
export interface ApprovalClockTable {
  id: string;
  seen_at: number;
}

/** Owner: approvals. What is told of an approval to the address that its rule names. */
export interface ApprovalNoticesTable {
  /** The same in every attempt: whoever gets it twice knows. */
  id: string;
  approval_id: string;
  event: string;
  /** `waiting`, or how it ended: `delivered`, `overtaken`, `failed`. */
  state: string;
  made_at: number;
  /** Nobody tries before; whoever tries has put it off for as long as that takes. */
  due_at: number;
  attempts: number;
  /** What was wrong with the last attempt. */
  problem: string | null;
  ended_at: number | null;
}

/** Owner: toolsets/tickets. */
export interface TicketsTable {
  id: string;
  project_uid: string;
  /** Counts the changes; whoever changes a row names the version it has read. */
  version: number;
  title: string;
  body: string;
  ticket_type: string;
  priority: string;
  /** JSON array. */
  labels: string;
  status: string;
  /** 0 or 1. */
  on_hold: number;
  /** 0 or 1: a handler has acknowledged it while on hold. */
  acknowledged: number;
  deferred_until: number | null;
  blocked_reason: string | null;
  /** JSON: what a handler proposes. */
  proposal: string | null;
  resolution: string | null;
  /** Principal. */
  created_by: string;
  /** E-mail of the principal's user. */
  created_owner: string;
  created_at: number;
  updated_at: number;
  resolved_at: number | null;
  /** How many rows of history it has. */
  entries: number;
}

/** Owner: toolsets/tickets. Rows are only ever added. */
export interface TicketHistoryTable {
  ticket_id: string;
  seq: number;
  at: number;
  actor: string;
  actor_name: string;
  acted_as: string;
  provenance: string;
  act: string;
  from_state: string | null;
  to_state: string;
  text: string | null;
  /** JSON array of the fields that an edit changed. */
  changed: string | null;
  /** Project, principal, its owner and idempotency key of the call, hashed; null where it had no key. */
  once: string | null;
  /** Digest of what the call was. */
  once_digest: string | null;
}

/** Owner: toolsets/tickets. `blocks`, `follow_up_of` or `related`, from the one to the other. */
export interface TicketLinksTable {
  from_id: string;
  kind: string;
  to_id: string;
}

/** Owner: toolsets/tickets. */
export interface TicketWordsTable {
  project_uid: string;
  word: string;
  ticket_id: string;
}

/** Owner: vendors. What the authorization server of an upstream server has issued; one row for each grant. */
export interface UpstreamCredentialsTable {
  server_uid: string;
  /** The authorization server. */
  issuer: string;
  /** Whose it is; empty: everybody's. */
  owner: string;
  /** Of the key that it is sealed under. */
  key_id: string;
  sealed: string;
  /** Another one with each token. */
  version: number;
  /** Why it is of no use any more; null while it is. */
  lost: string | null;
  /** Who refreshes it now, and until when nobody else does; 0: nobody. */
  lease: string | null;
  lease_until: number;
  /** No refresh before; 0: at once. */
  retry_at: number;
  /** Refreshes that failed in a row. */
  failures: number;
  updated_at: number;
}

/** Owner: vendors. Sign-ins that somebody has begun and not finished; the last one counts. */
export interface UpstreamLoginsTable {
  id: string;
  server_uid: string;
  /** E-mail of the user whom the grant will be of; empty: everybody. */
  owner: string;
  key_id: string;
  sealed: string;
  /** `device`, `paste`, `browser` or `page`. */
  flow: string;
  begun_at: number;
  /** The vendor is not asked again before. */
  poll_at: number;
  expires_at: number;
}

/** Owner: vendors. What servers want beyond what somebody signed in for. */
export interface UpstreamScopesTable {
  server_uid: string;
  /** See UpstreamCredentialsTable. */
  owner: string;
  /** All that the next sign-in asks for, by RFC 6749 section 3.3. */
  scope: string;
  /** That asked for it, the one before among them. */
  sign_ins: number;
}
