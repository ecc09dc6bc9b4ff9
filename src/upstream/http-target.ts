import type { ServerClient } from '../net/server-client.ts';
import { UpstreamFault } from './transport.ts';

export type HttpTransportOptions = {
  url: string;
  /** Sent with every request, `Authorization` among them; those that the transport sets itself are left out. */
  headers: Record<string, string>;
  /** Asked for `Authorization` before each request; undefined: `headers` are all. */
  credential?: { readonly header: string | undefined } | undefined;
  client: Pick<ServerClient, 'lease'>;
  /** For messages. */
  serverName: string;
};

/** Headers of the hop or of the protocol: a configured value would break one of the two. */
const OWN_HEADERS = new Set([
  'accept',
  'accept-encoding',
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'expect',
  'host',
  'keep-alive',
  'last-event-id',
  'mcp-method',
  'mcp-name',
  'mcp-protocol-version',
  'mcp-session-id',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

export type HttpTargetAddress = {
  origin: string;
  /** Path and query, as a request line has them. */
  path: string;
  url: URL;
  /** The configured headers as a flat list of names and values, which is the form undici takes as it is. */
  headers: string[];
  /** The credential of now in the same form; empty where there is none beside `headers`. */
  readonly proof: string[];
};

/** Checks once what every request will use. Throws an UpstreamFault that names the fix. */
export function addressOf(options: HttpTransportOptions): HttpTargetAddress {
  const { serverName, headers } = options;
  const url = URL.parse(options.url);
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new UpstreamFault('unreachable', `server "${serverName}" has a url that is not http or https`);
  }
  if (url.username || url.password) {
    const fix = 'put it into headers.Authorization';
    throw new UpstreamFault('unreachable', `server "${serverName}" has a credential in its url; ${fix}`);
  }
  const own = Object.entries(headers).filter(([name]) => !OWN_HEADERS.has(name.toLowerCase()));
  const flat = own.flat();
  const { credential } = options;
  return {
    origin: url.origin,
    path: url.pathname + url.search,
    url,
    headers: flat,
    get proof() {
      const header = credential?.header;
      return header === undefined ? [] : ['authorization', header];
    },
  };
}
