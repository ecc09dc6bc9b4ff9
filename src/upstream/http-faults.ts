import { messageOf } from '../base/errors.ts';
import type { ReplyHead } from '../net/reply.ts';
import { type FaultKind, UpstreamFault } from './transport.ts';

const BODY_EXCERPT = 4 * 1024;

/** What a status that is no answer means for the caller. `body` is what was read of it. */
export function statusFault(server: string, head: ReplyHead, body: string): UpstreamFault {
  const { status } = head;
  const more = { sent: true, status, body: body.slice(0, BODY_EXCERPT), challenge: head.challenge };
  if (status === 401 || status === 403) {
    const what = status === 401 ? 'wants a credential or refused the one it got' : 'forbids this credential';
    return new UpstreamFault('needs_auth', `server "${server}" ${what} (HTTP ${status}); set its auth`, more);
  }
  if (status >= 300 && status < 400) {
    const to = hostOf(head.location);
    return new UpstreamFault(
      'http',
      `server "${server}" redirects to ${to} (HTTP ${status}), which is not followed; set its url to the final address`,
      more,
    );
  }
  return new UpstreamFault('http', `server "${server}" answered HTTP ${status}`, more);
}

/** A 2xx reply that is neither JSON nor an event stream. */
export function contentTypeFault(server: string, head: ReplyHead): UpstreamFault {
  const what =
    head.contentType === 'text/html'
      ? 'an HTML page; check the path of its url'
      : `content type ${printable(head.contentType) || 'none'} instead of JSON or an event stream`;
  return protocolFault(server, `answered with ${what}`, head.status);
}

export function protocolFault(server: string, what: string, status?: number): UpstreamFault {
  return new UpstreamFault('protocol', `server "${server}" ${what}`, { sent: true, status });
}

/** The server forgot the legacy session: the connection has to be made anew. */
export function sessionLostFault(server: string, status: number | undefined): UpstreamFault {
  return new UpstreamFault('session_lost', `server "${server}" no longer knows our session`, {
    sent: true,
    status,
  });
}

export function tooLargeFault(server: string, maxBytes: number): UpstreamFault {
  return new UpstreamFault('too_large', `server "${server}" sent more than ${maxBytes} bytes in one answer`, {
    sent: true,
  });
}

/** Every connection to the server is taken, and the line is full. */
export function busyFault(server: string): UpstreamFault {
  return new UpstreamFault('capacity', `server "${server}" has too many requests waiting for it; try later`);
}

/** What an error of the socket, of TLS or of the HTTP parser means. `sent`: a connection was there to send on. */
export function connectionFault(server: string, error: unknown, sent: boolean): UpstreamFault {
  const [kind, what] = sort(codeOf(error), error, sent);
  return new UpstreamFault(kind, `server "${server}" ${what}`, { sent });
}

function sort(code: string, error: unknown, sent: boolean): [FaultKind, string] {
  switch (code) {
    case 'ECONNREFUSED':
      return ['unreachable', 'refused the connection; is it running and is the port right?'];
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return ['unreachable', 'has a host name that cannot be resolved'];
    case 'UND_ERR_CONNECT_TIMEOUT':
    case 'ETIMEDOUT':
      return ['unreachable', 'did not accept a connection in time'];
    case 'UND_ERR_HEADERS_TIMEOUT':
    case 'UND_ERR_BODY_TIMEOUT':
      return ['timeout', 'did not answer in time'];
    case 'UND_ERR_HEADERS_OVERFLOW':
      return ['protocol', 'sent HTTP headers over the limit'];
    case 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH':
      return ['protocol', 'sent less or more than its content-length said'];
    case 'UND_ERR_INVALID_ARG':
    case 'UND_ERR_NOT_SUPPORTED':
      return ['protocol', `cannot be sent this request: ${messageOf(error)}`];
    case 'UND_ERR_SOCKET':
    case 'ECONNRESET':
    case 'EPIPE':
      return ['unreachable', 'closed the connection before the answer was complete'];
  }
  if (code.startsWith('HPE_') || code === 'HTTPParserError') {
    return ['protocol', 'sent bytes that are not HTTP/1.1'];
  }
  if (/CERT|SELF_SIGNED|ERR_TLS|ERR_SSL|UNABLE_TO/.test(code)) {
    const fix = 'a private authority is trusted with NODE_EXTRA_CA_CERTS';
    return ['unreachable', `has no TLS certificate that can be trusted (${code}); ${fix}`];
  }
  return ['unreachable', sent ? `broke the connection (${code})` : `cannot be reached (${code})`];
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}

function hostOf(location: string | undefined): string {
  if (location === undefined) return 'nowhere';
  try {
    return new URL(location, 'http://same-host.invalid').host.replace(
      'same-host.invalid',
      'another path of it',
    );
  } catch {
    return 'an invalid address';
  }
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 80);
}
