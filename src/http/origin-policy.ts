import type { IncomingMessage } from 'node:http';

/** Which web pages and which host names may speak to this server. */
export class OriginPolicy {
  private readonly origins: ReadonlySet<string>;
  private readonly others: ReadonlySet<string>;
  private readonly hosts: ReadonlySet<string> | 'loopback' | 'any';

  /** `port` is the one listened on; `publicUrl` the only other address that is ours. */
  constructor(options: {
    loopback: boolean;
    port: number;
    publicUrl: string | undefined;
    allowed: readonly string[];
  }) {
    this.others = new Set(options.allowed);
    const origins = new Set(options.allowed);
    if (options.publicUrl) origins.add(new URL(options.publicUrl).origin);
    if (options.loopback) {
      for (const name of LOOPBACK_NAMES) origins.add(new URL(`http://${name}:${options.port}`).origin);
    }
    this.origins = origins;
    if (options.loopback) this.hosts = 'loopback';
    else this.hosts = options.publicUrl ? new Set([new URL(options.publicUrl).host]) : 'any';
    this.publicHost = options.publicUrl ? new URL(options.publicUrl).host : undefined;
  }

  private readonly publicHost: string | undefined;

  /** The sentence to refuse with, or undefined. DNS rebinding needs a foreign Host or a foreign Origin. */
  refuse(req: IncomingMessage): string | undefined {
    if (req.url?.charCodeAt(0) !== SLASH) return 'The request target must be a path';
    const { host, origin } = req.headers;
    // Node keeps the first of two; whatever is in front of us may have kept the second.
    if (host === undefined || !this.hostAllowed(host) || namesTwoHosts(req.rawHeaders))
      return 'Host is not a name of this server';
    if (origin !== undefined && !this.origins.has(origin) && !isOwnForm(req)) {
      return 'Origin is not allowed; CASTELLAN_ALLOWED_ORIGINS lists those that are';
    }
    return undefined;
  }

  /** Origin of the page that asks, when the operator listed it: our own pages read our own answers anyway. */
  pageOf({ headers: { origin } }: IncomingMessage): string | undefined {
    return origin !== undefined && this.others.has(origin) ? origin : undefined;
  }

  private hostAllowed(host: string): boolean {
    if (host === '') return false;
    if (this.hosts === 'any') return true;
    if (this.hosts === 'loopback') return LOOPBACK_HOST.test(host) || host === this.publicHost;
    return this.hosts.has(host.toLowerCase());
  }
}

/**
 * A form on a page of ours, which tells nobody where it was (`Referrer-Policy: no-referrer`), comes without its origin;
 * then the browser itself vouches for it. No other page can have it say so.
 */
function isOwnForm({ method, headers }: IncomingMessage): boolean {
  return (
    method === 'POST' &&
    headers.origin === 'null' &&
    headers['sec-fetch-site'] === 'same-origin' &&
    headers['sec-fetch-mode'] === 'navigate' &&
    headers['content-type'] === 'application/x-www-form-urlencoded'
  );
}

function namesTwoHosts(rawHeaders: readonly string[]): boolean {
  let found = false;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!;
    if (name.length !== 4 || name.toLowerCase() !== 'host') continue;
    if (found) return true;
    found = true;
  }
  return false;
}

const SLASH = 47;
const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]'];
const LOOPBACK_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i;
