/**
 * Why an endpoint under test did not do what was asked. transport: no channel, or bytes that are no MCP · auth: 401 or
 * 403 · contract: it speaks MCP, but refuses or breaks what the protocol or the tester asks.
 */
export type FaultKind = 'transport' | 'auth' | 'contract';

export class EndpointFault extends Error {
  readonly kind: FaultKind;
  /** HTTP status, when there was an answer. */
  readonly status: number | undefined;

  constructor(kind: FaultKind, message: string, status?: number) {
    super(message);
    this.name = 'EndpointFault';
    this.kind = kind;
    this.status = status;
  }
}

type Caused = { code?: unknown; message?: unknown; errors?: unknown; cause?: unknown };

const TLS_HINTS: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed; trust it with NODE_EXTRA_CA_CERTS=FILE',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate chain is self-signed; trust it with NODE_EXTRA_CA_CERTS=FILE',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    'its certificate cannot be verified; add the issuer with NODE_EXTRA_CA_CERTS=FILE',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    'its certificate cannot be verified; add the issuer with NODE_EXTRA_CA_CERTS=FILE',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host name',
  ERR_SSL_WRONG_VERSION_NUMBER: 'it does not speak TLS there; use http://',
};

/** Says in one sentence why no answer came from `url`. */
export function transportFault(url: URL, error: unknown, timeoutMs: number): EndpointFault {
  if (error instanceof EndpointFault) return error;
  const name = error instanceof Error ? error.name : '';
  if (name === 'TimeoutError' || name === 'AbortError') {
    return new EndpointFault('transport', `no answer from ${url.origin} within ${timeoutMs / 1000} s`);
  }
  const { code, message } = rootCause(error);
  return new EndpointFault('transport', `cannot reach ${url.origin}: ${reasonOf(url, code, message)}`);
}

function reasonOf(url: URL, code: string, message: string): string {
  switch (code) {
    case 'ECONNREFUSED':
      return `connection refused; does a server listen on ${url.host}?`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `the host name ${url.hostname} does not resolve`;
    case 'ECONNRESET':
    case 'UND_ERR_SOCKET':
      return 'the connection was closed before an answer came';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ETIMEDOUT':
    case 'UND_ERR_CONNECT_TIMEOUT':
      return `no route to ${url.host} (${code})`;
    case 'EPROTO':
      return 'it does not speak TLS there; use http://';
    default:
      if (message === 'bad port') return `Node's fetch refuses port ${url.port}, which another protocol owns`;
      return TLS_HINTS[code] ?? (code && !message.includes(code) ? `${message} (${code})` : message);
  }
}

/** `fetch` wraps the error of the socket, once or twice, and several addresses in an AggregateError. */
export function rootCause(error: unknown): { code: string; message: string } {
  let current = error as Caused | undefined;
  for (let depth = 0; depth < 5 && current; depth += 1) {
    const nested = Array.isArray(current.errors) ? (current.errors[0] as Caused) : (current.cause as Caused);
    if (!nested || typeof nested !== 'object') break;
    current = nested;
  }
  return { code: String(current?.code ?? ''), message: String(current?.message ?? error) };
}
