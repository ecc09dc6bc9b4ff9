import { homedir } from 'node:os';
import path from 'node:path';
import ipaddr from 'ipaddr.js';
import type { CastellanOptions } from '../app-options.ts';
import { LOG_LEVELS, type LogLevel } from '../base/logger.ts';
import type { DocumentHosts } from '../oauth/document-hosts.ts';
import { duration } from '../resources/quantities.ts';
import { usage } from './exit.ts';
import { signInProviderOf } from './sign-in-provider.ts';

/** The flags of `serve` as commander hands them over, all as written. */
export type ServeFlags = {
  config?: string[];
  host?: string;
  port?: string;
  dataDir?: string;
  publicUrl?: string;
  logLevel?: string;
  grace?: string;
  insecureHttp?: boolean;
  maxHttpServers?: string;
  maxStdioServers?: string;
};

/** What the server is started with: flags before environment, checked, defaults filled in. */
export type ServeSettings = Omit<CastellanOptions, 'version' | 'passing'> & {
  insecureHttp: boolean;
  graceMs: number;
};

const MIN_RETENTION_MS = 3_600_000;
const MIN_ACCESS_TOKEN_TTL_MS = 60_000;
const MAX_ACCESS_TOKEN_TTL_MS = 30 * 86_400_000;

type Environment = Readonly<Record<string, string | undefined>>;
/** A value with the flag or variable it came from, for messages. */
type Sourced = { value: string; source: string };

export function serveSettings(flags: ServeFlags, env: Environment): ServeSettings {
  const host = pick(flags.host, '--host', env, 'CASTELLAN_HOST')?.value ?? '127.0.0.1';
  const publicUrl = publicUrlOf(pick(flags.publicUrl, '--public-url', env, 'CASTELLAN_PUBLIC_URL'));
  const insecureHttp = flags.insecureHttp ?? false;
  if (!isLoopbackHost(host) && !publicUrl?.startsWith('https:') && !insecureHttp) {
    throw usage(
      `--host ${host} is reachable from other machines: give an https --public-url, or accept plain HTTP with --insecure-http`,
    );
  }
  return {
    configFiles: flags.config ?? [],
    host,
    port: portOf(pick(flags.port, '--port', env, 'CASTELLAN_PORT')),
    dataDir: pick(flags.dataDir, '--data-dir', env, 'CASTELLAN_DATA_DIR')?.value ?? './.castellan',
    cacheDir: cacheDirOf(env),
    databaseUrl: databaseUrlOf(env.CASTELLAN_DATABASE_URL),
    publicUrl,
    trustedProxies: listOf(env.CASTELLAN_TRUSTED_PROXIES).map(rangeOf),
    allowedOrigins: originsOf('CASTELLAN_ALLOWED_ORIGINS', env),
    insecureHttp,
    logLevel: logLevelOf(pick(flags.logLevel, '--log-level', env, 'CASTELLAN_LOG_LEVEL')),
    graceMs: graceOf(flags.grace ?? '20s'),
    maxHttpServers: countOf(
      pick(flags.maxHttpServers, '--max-http-servers', env, 'CASTELLAN_MAX_HTTP_SERVERS'),
      64,
    ),
    maxStdioServers: countOf(
      pick(flags.maxStdioServers, '--max-stdio-servers', env, 'CASTELLAN_MAX_STDIO_SERVERS'),
      16,
    ),
    clientRegistration: registrationOf(env.CASTELLAN_CLIENT_REGISTRATION, host, publicUrl),
    documentHosts: documentHostsOf(env.CASTELLAN_CLIENT_METADATA_HOSTS || '*'),
    notifyOrigins: originsOf('CASTELLAN_NOTIFY_ORIGINS', env),
    auditRetentionMs: retentionOf(env.CASTELLAN_AUDIT_RETENTION || '90d'),
    signInProvider: signInProviderOf(env),
    accessTokenTtlMs: accessTokenTtlOf(env.CASTELLAN_ACCESS_TOKEN_TTL || '24h'),
    env,
  };
}

/** Where the launcher keeps compiled code, too. */
function cacheDirOf({ CASTELLAN_CACHE_DIR, XDG_CACHE_HOME }: Environment): string {
  const base = XDG_CACHE_HOME || path.join(homedir(), '.cache');
  return path.resolve(CASTELLAN_CACHE_DIR || path.join(base, 'castellan'));
}

function retentionOf(text: string): number {
  if (text === 'forever') return Number.POSITIVE_INFINITY;
  const parsed = duration.parse(text);
  if (parsed !== undefined && parsed >= MIN_RETENTION_MS) return parsed;
  throw usage(`CASTELLAN_AUDIT_RETENTION "${text}" is not valid: write 90d, at least 1h, or forever`);
}

function accessTokenTtlOf(text: string): number {
  const parsed = duration.parse(text);
  if (parsed !== undefined && parsed >= MIN_ACCESS_TOKEN_TTL_MS && parsed <= MAX_ACCESS_TOKEN_TTL_MS)
    return parsed;
  throw usage(`CASTELLAN_ACCESS_TOKEN_TTL "${text}" is not valid: write 24h, from 1m to 30d`);
}

/** Whoever reaches the server may register, so that is left to servers that only this machine reaches. */
function registrationOf(text: string | undefined, host: string, publicUrl: string | undefined): boolean {
  if (text === 'on' || text === 'off') return text === 'on';
  if (text) throw usage(`CASTELLAN_CLIENT_REGISTRATION "${text}" is not valid: write on or off`);
  const hostname = publicUrl === undefined ? host : new URL(publicUrl).hostname;
  return isLoopbackHost(host) && isLoopbackHost(hostname);
}

function documentHostsOf(text: string): DocumentHosts | undefined {
  if (text === 'none') return undefined;
  const names: string[] = [];
  const origins: string[] = [];
  for (const item of listOf(text)) {
    const url = item.includes('/') ? URL.parse(item) : undefined;
    if (url?.protocol === 'https:' && url.href === `${url.origin}/`) origins.push(url.origin);
    else if (/^[a-z0-9*-]+(\.[a-z0-9*-]+)*$/.test(item)) names.push(item);
    else {
      const say = 'write host names such as *.example.com, https origins, or none';
      throw usage(`CASTELLAN_CLIENT_METADATA_HOSTS: "${item}" is no host: ${say}`);
    }
  }
  return { names, origins };
}

/** The flag's value, else the variable's; an empty variable counts as unset, an empty flag is a mistake. */
function pick(
  flag: string | undefined,
  name: string,
  env: Environment,
  variable: string,
): Sourced | undefined {
  if (flag === '') throw usage(`${name} is empty: give it a value, or leave it out`);
  if (flag !== undefined) return { value: flag, source: name };
  const value = env[variable];
  return value ? { value, source: variable } : undefined;
}

function portOf(given: Sourced | undefined): number {
  if (!given) return 7400;
  const port = /^\d{1,5}$/.test(given.value) ? Number(given.value) : Number.NaN;
  if (!(port <= 65_535))
    throw usage(`${given.source} "${given.value}" is no port: give a number from 0 to 65535`);
  return port;
}

function isLoopbackHost(host: string): boolean {
  if (host === 'localhost') return true;
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  return ipaddr.isValid(bare) && ipaddr.process(bare).range() === 'loopback';
}

function publicUrlOf(given: Sourced | undefined): string | undefined {
  if (!given) return undefined;
  const url = URL.parse(given.value);
  const plain = url && !url.search && !url.hash && !url.username && !url.password && url.pathname === '/';
  if (!plain || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    throw usage(
      `${given.source} "${given.value}" must be an http(s) URL without path, query or user, such as https://mcp.example.com`,
    );
  }
  return url.origin;
}

function databaseUrlOf(value: string | undefined): string | undefined {
  if (!value) return undefined;
  if (!/^postgres(ql)?:\/\//.test(value)) {
    // The value holds a password, so the message does not repeat it.
    throw usage('CASTELLAN_DATABASE_URL must start with postgres://; leave it unset for the embedded SQLite');
  }
  return value;
}

function listOf(value: string | undefined): string[] {
  return (value ?? '')
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function rangeOf(text: string): string {
  if (ipaddr.isValidCIDR(text)) return text;
  if (ipaddr.isValid(text)) return `${text}/${ipaddr.parse(text).kind() === 'ipv4' ? 32 : 128}`;
  throw usage(`CASTELLAN_TRUSTED_PROXIES: "${text}" is no address range; give CIDRs such as 10.0.0.0/8`);
}

function originsOf(variable: string, env: Environment): string[] {
  return listOf(env[variable]).map((text) => {
    const url = URL.parse(text);
    if (url && url.origin !== 'null' && url.pathname === '/' && !url.search && !url.hash) return url.origin;
    throw usage(
      `${variable}: "${text}" is no origin; give scheme, host and port such as https://app.example.com`,
    );
  });
}

function logLevelOf(given: Sourced | undefined): LogLevel {
  if (!given) return 'info';
  const level = LOG_LEVELS.find((one) => one === given.value);
  if (!level) throw usage(`${given.source} "${given.value}" is no log level: use ${LOG_LEVELS.join(', ')}`);
  return level;
}

function graceOf(text: string): number {
  const ms = duration.parse(text);
  if (ms === undefined || ms > 3_600_000)
    throw usage(`--grace "${text}" is no duration up to 1h: ${duration.hint}`);
  return ms;
}

const MAX_SERVERS = 10_000;

function countOf(given: Sourced | undefined, fallback: number): number {
  if (!given) return fallback;
  const count = /^\d{1,5}$/.test(given.value) ? Number(given.value) : 0;
  if (count < 1 || count > MAX_SERVERS) {
    throw usage(`${given.source} must be a whole number from 1 to ${MAX_SERVERS}, not "${given.value}"`);
  }
  return count;
}
