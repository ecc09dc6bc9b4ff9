const MAX_LENGTH = 2000;
const LOOPBACK = ['localhost', '127.0.0.1', '[::1]'];

/** Schemes that a browser or a desktop acts on by itself instead of handing them to the program that took them. */
const REFUSED_SCHEMES = new Set(
  `about blob chrome data file filesystem ftp intent jar javascript mailto moz-extension resource search-ms sms ssh
  tel vbscript view-source ws wss`.split(/\s+/),
);

/**
 * Where a redirect leads: over https, to this machine (RFC 8252 section 7.3), or to a program that took a scheme of
 * its own (section 7.1).
 */
export type RedirectKind = 'web' | 'loopback' | 'private';

/** Undefined for what nobody may be redirected to. */
export function redirectKind(uri: string): RedirectKind | undefined {
  return redirectFault(uri) === undefined ? kindOf(new URL(uri)) : undefined;
}

/** Why a browser is never sent there with a code; never repeats the address. */
export function redirectFault(uri: string): string | undefined {
  if (uri.length > MAX_LENGTH) return `is ${uri.length} characters long: the limit is ${MAX_LENGTH}`;
  // The parser drops or mends some of these, and the parsed address would be another than the one that is compared.
  if (!/^[\x21-\x7e]+$/.test(uri) || /[\\"<>^`{|}]/.test(uri))
    return 'holds spaces or other characters that no URI has: encode them';
  const url = URL.parse(uri);
  if (!url) return 'is no absolute URI: write one such as https://example.com/callback';
  if (uri.includes('#')) return 'has a fragment: remove everything from # on';
  if (url.username !== '' || url.password !== '') return 'names a user before the host: remove it';
  const scheme = url.protocol.slice(0, -1);
  if (scheme === 'https') return url.hostname.includes('*') ? 'has a wildcard: write each host' : undefined;
  if (scheme === 'http') {
    const loopback = LOOPBACK.includes(url.hostname) && uri.startsWith(`http://${url.hostname}`);
    return loopback ? undefined : 'uses http beyond this machine: use https';
  }
  return REFUSED_SCHEMES.has(scheme) ? `has the scheme ${scheme}, which is refused: use https` : undefined;
}

function kindOf({ protocol }: URL): RedirectKind {
  if (protocol === 'https:') return 'web';
  return protocol === 'http:' ? 'loopback' : 'private';
}
