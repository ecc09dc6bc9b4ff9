/** What a server says of the credential it wants (RFC 6750 section 3, RFC 9728 section 5.1). */
export type Challenge = {
  error: string | undefined;
  scopes: string[] | undefined;
  /** Where the resource describes itself. */
  metadata: string | undefined;
};

const MAX_LENGTH = 4096;
const MAX_SCOPES = 100;
const PARAMETER = /([A-Za-z0-9_-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))/g;
const SCOPE = /^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/;

/** Reads `WWW-Authenticate`. A parameter that occurs twice counts as it stands first; what is quoted is no parameter. */
export function challengeOf(header: string | undefined): Challenge {
  const parameters = new Map<string, string>();
  for (const [, name = '', quoted, bare] of (header ?? '').slice(0, MAX_LENGTH).matchAll(PARAMETER)) {
    const key = name.toLowerCase();
    if (!parameters.has(key)) parameters.set(key, bare ?? (quoted ?? '').replace(/\\(.)/g, '$1'));
  }
  const scope = parameters.get('scope');
  return {
    error: parameters.get('error'),
    scopes: scope === undefined ? undefined : scopesIn(scope),
    metadata: parameters.get('resource_metadata'),
  };
}

/** The scopes that a 403 wants beside those of the token; undefined: it is about something else. */
export function scopesWanted(header: string | undefined): string[] | undefined {
  const { error, scopes } = challengeOf(header);
  return error === 'insufficient_scope' ? (scopes ?? []) : undefined;
}

/** RFC 6749 section 3.3. What is no scope is left out, and more than a hundred are. */
export function scopesIn(text: string): string[] {
  const scopes = new Set(text.split(' ').filter((one) => SCOPE.test(one)));
  return [...scopes].slice(0, MAX_SCOPES);
}

/** All of both, each once; undefined: there are none. */
export function unionOf(some: string | undefined, others: readonly string[] | undefined): string | undefined {
  const all = scopesIn([...scopesIn(some ?? ''), ...(others ?? [])].join(' '));
  return all.length === 0 ? undefined : all.join(' ');
}
