const MAX_LENGTH = 2048;

/** What may stand in a URL without meaning something to a shell, and is never encoded. */
const PLAIN = /^[A-Za-z0-9\-._~:/?#[\]@&+,=%]+$/;

/**
 * Why an address is none that a person's browser may be sent to, or a credential: not http or https, or with parts that
 * have a meaning to something else. Never repeats it.
 */
export function endpointFault(text: string): string | undefined {
  if (text.length > MAX_LENGTH) return `has more than ${MAX_LENGTH} characters: shorten it`;
  const url = PLAIN.test(text) ? URL.parse(text) : null;
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:') || !/^https?:\/\//i.test(text))
    return 'is not a plain http or https URL: write it in full, such as https://example.com/token';
  if (url.username || url.password) return 'contains a user or password: remove it';
  if (url.pathname.includes('&')) return 'has a "&" in its path: remove it';
  return url.hash || text.includes('#') ? 'contains a fragment: remove everything from "#" on' : undefined;
}
