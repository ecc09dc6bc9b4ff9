import type { PolicyBook } from '../policy/policy-book.ts';
import type { ResultRule } from '../results/result-rules.ts';
import type { Binding } from './bindings.ts';

/** Shapes of the resources as the rest of the house sees them: defaults filled in, `${…}` expanded. */
export type Surface = 'consumer' | 'operator';
export type Isolation = 'shared' | 'user' | 'session';
export type PrefixMode = 'always' | 'conditional' | 'never';

export type ToolsSpec = {
  /** Globs over the upstream's own tool names. */
  allow: string[];
  deny: string[];
  readOnly: string[];
  override: Record<string, { name?: string; description?: string }>;
  /** The first that matches a tool counts. */
  results: readonly ResultRule[];
};

export type LifecycleSpec = {
  connect: 'lazy' | 'eager';
  idleTimeoutMs: number;
  callTimeoutMs: number;
  maxResultBytes: number;
};

export type HealthCheckSpec = { tool?: string; intervalMs: number; timeoutMs: number; failures: number };

export type StdioTarget = {
  type: 'stdio';
  command: string;
  args: string[];
  env: Record<string, string>;
  cwd?: string;
};
export type HttpTarget = { type: 'http'; url: string; headers: Record<string, string> };
export type BuiltinTarget = { type: 'builtin'; toolset: string };

/** How Castellan signs in at the authorization server of an HTTP server. */
export type OAuthSpec = {
  /** Endpoints are those that stand here, and the server is not asked for anything. */
  custom: boolean;
  /** Castellan signs in as itself (`client_credentials`), and nobody has to. */
  machine: boolean;
  /** Each user signs in for themselves, and their calls carry their own token. */
  perUser: boolean;
  authorizationEndpoint: string | undefined;
  tokenEndpoint: string | undefined;
  deviceAuthorizationEndpoint: string | undefined;
  clientId: string | undefined;
  clientSecret: string | undefined;
  /** PEM or JWK. */
  privateKey: string | undefined;
  redirectUri: string | undefined;
  /** Undefined: those that the server asks for. */
  scopes: readonly string[] | undefined;
  resource: string | undefined;
  clientMetadataUrl: string | undefined;
  /** Beside the server's own: may be asked, wherever they lie. */
  allowOrigins: readonly string[];
};

export type ServerSpec = {
  target: StdioTarget | HttpTarget | BuiltinTarget;
  /** Undefined: what `headers` of the target hold is all. */
  auth: OAuthSpec | undefined;
  /** `auto` probes; else the revision to speak. */
  protocol: 'auto' | '2024-11-05' | '2025-03-26' | '2025-06-18' | '2025-11-25' | '2026-07-28';
  /** Undefined: the default of product contract, `user` for stdio, `session` for legacy HTTP. */
  isolation: Isolation | undefined;
  prefix: PrefixMode;
  tools: ToolsSpec;
  lifecycle: LifecycleSpec;
  /** Undefined: none beyond the calls themselves. */
  healthCheck: HealthCheckSpec | undefined;
};

export type ServerEntry = {
  name: string;
  uid: string;
  /** Keyed digest of the expanded spec, secrets included, or the error; a change of it restarts the connections. */
  fingerprint: string;
  /** What nobody may read in what the server writes: values of secrets, and the placeholder to show instead. */
  confidential: ReadonlyMap<string, string>;
  /** Why this server alone cannot run (an unset variable …); its spec is then undefined. */
  error: string | undefined;
  spec: ServerSpec | undefined;
};

export type ProjectSpec = {
  servers: string[];
  operatorServers: string[];
  exposure: 'full' | 'meta' | 'gated';
  defaultAction: 'allow' | 'deny';
  /** What becomes of tools that a server lists later than the first time. */
  newTools: 'list' | 'hold';
  /** What becomes of a tool whose definition is not the accepted one any more. */
  changedTools: 'hold' | 'warn';
  /** Undefined: none. */
  limits: CallLimits | undefined;
  /** How much text of a result goes to a model, bytes, where no rule of its server says; undefined: all of it. */
  results: { maxBytes: number | undefined };
  /** `selfHandle`: whoever has `handle` may handle tickets of their own user, too. */
  tickets: { selfHandle: boolean };
  audit: {
    /** `strict`: a call that may change something waits until its announcement is on the disk. */
    intent: 'strict' | 'relaxed';
    /** Whether arguments are recorded, redacted, and not only their digest. */
    arguments: boolean;
  };
};

export type CallLimit = {
  rate: { calls: number; perMs: number } | undefined;
  /** Calls at the same time. */
  concurrent: number | undefined;
};

/** For each token, for each user with all credentials together, and for everybody together. */
export type CallLimits = {
  token?: CallLimit;
  user?: CallLimit;
  tool?: CallLimit;
  surface?: CallLimit;
  project?: CallLimit;
};

export type ProjectEntry = { name: string; uid: string; spec: ProjectSpec };

export type Subject = { kind: 'User' | 'Group' | 'McpToken'; name: string };

export type UserEntry = {
  /** E-mail, or `admin`. */
  name: string;
  uid: string;
  disabled: boolean;
  /** Those that exist. */
  groups: readonly string[];
};

export type RbacEntry = {
  name: string;
  uid: string;
  subjects: readonly Subject[];
  bindings: readonly Binding[];
};

/** Everybody who may have rights, and all that grants some. */
export type Access = {
  users: ReadonlyMap<string, UserEntry>;
  groups: ReadonlySet<string>;
  rbacs: ReadonlyMap<string, RbacEntry>;
};

export type PolicyEntry = {
  name: string;
  uid: string;
  fingerprint: string;
  /** Why it cannot be read; it then denies everything that it would cover. */
  error: string | undefined;
};

/** The policies, and the book in which their decisions are looked up. */
export type Policies = { entries: ReadonlyMap<string, PolicyEntry>; book: PolicyBook };

export type RepositorySpec = {
  /** Absolute: the top folder of a working tree, or a bare repository. */
  path: string;
  /** Globs over branches and tags (`worktree` is the working tree) that may be read. */
  refs: readonly string[];
  /** Globs over paths that nobody is shown. */
  ignore: readonly string[];
  description: string | undefined;
};

export type RepositoryEntry = {
  name: string;
  uid: string;
  /** Why nothing of it can be read; its spec is then undefined. */
  error: string | undefined;
  spec: RepositorySpec | undefined;
};

/** One consistent, immutable picture of the configuration; a change makes a new one with a higher generation. */
export type Snapshot = {
  generation: number;
  servers: ReadonlyMap<string, ServerEntry>;
  projects: ReadonlyMap<string, ProjectEntry>;
  access: Access;
  policies: Policies;
  repositories: ReadonlyMap<string, RepositoryEntry>;
};
