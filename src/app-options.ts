import type { LogLevel } from './base/logger.ts';
import type { ExternalProviderSettings } from './identity/external-provider.ts';
import type { NewFileToken } from './identity/file-tokens.ts';
import type { PasswordLink } from './identity/passwords.ts';
import type { DocumentHosts } from './oauth/document-hosts.ts';

export type CastellanOptions = {
  configFiles: readonly string[];
  host: string;
  /** 0: any free port. */
  port: number;
  dataDir: string;
  /** Disposable: what is in it may be removed at any time. */
  cacheDir: string;
  databaseUrl: string | undefined;
  /** Without a slash at its end. */
  publicUrl: string | undefined;
  allowedOrigins: readonly string[];
  /** CIDR ranges of proxies whose `X-Forwarded-For` is believed. */
  trustedProxies: readonly string[];
  logLevel: LogLevel;
  /** How many HTTP servers are connected at once, and how many stdio processes run. */
  maxHttpServers: number;
  maxStdioServers: number;
  /** How long rows of the audit are kept; Infinity: for ever. */
  auditRetentionMs: number;
  /** Somebody else's provider, at which people may sign in. */
  signInProvider: ExternalProviderSettings | undefined;
  /** How long access tokens of OAuth clients live. */
  accessTokenTtlMs: number;
  /** Whether OAuth clients may register themselves. */
  clientRegistration: boolean;
  /** Whose documents say who an OAuth client is; undefined: nobody's. */
  documentHosts: DocumentHosts | undefined;
  /** Whose addresses notices of approvals may go to wherever they lie; all others are public ones. */
  notifyOrigins: readonly string[];
  /** For `${VAR}` in the files. */
  env: Readonly<Record<string, string | undefined>>;
  version: string;
  /** It serves one client of this machine and ends with it: others that find it gone take its place. */
  passing?: boolean;
};

export type RunningCastellan = {
  /** Where this machine reaches it. */
  url: string;
  /** Names of the projects, sorted. */
  projects: string[];
  /** Tokens that the files ask for; `raw` only for those made just now. */
  fileTokens: NewFileToken[];
  /** Sets the administrator's password; only where nobody ever had one. */
  firstLink: PasswordLink | undefined;
  reload(): Promise<void>;
  /** Refuses what is new, lets calls in flight finish for up to `graceMs`, and leaves no child behind. */
  stop(graceMs: number): Promise<void>;
};
