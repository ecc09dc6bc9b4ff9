import type { Surface } from '../resources/spec.ts';

declare const authenticated: unique symbol;

/**
 * `User:<email>` is the human or the CLI on a data directory; a token is named by the SHA-256 of its text, a client by
 * its id.
 */
export type Principal = `User:${string}` | `McpToken:${string}` | `OAuthClient:${string}`;

type CallerFields = {
  readonly principal: Principal;
  /** E-mail of the user that the principal belongs to. */
  readonly owner: string;
  /**
   * Whose rights bound those of the principal: the owner of a token, the tokens that it was made with and who acted as
   * the owner then, or whoever acts as another.
   */
  readonly ceilings: readonly Principal[];
  /** Who acts as the principal; undefined when it acts for itself. Nobody decides for people as somebody else. */
  readonly actor?: Principal;
  readonly tokenId?: string;
  /** What ends with the credential, by whichever verifier knows it: the id of a token, the hash of an access token. */
  readonly credentialId?: string;
  readonly tokenName?: string;
  /** Name of the one project that the credential opens; `*` is every project. */
  readonly project: string | '*';
  /** Of a token's project at its creation: a later project of the same name is another one. */
  readonly projectUid?: string;
  readonly surfaces: ReadonlySet<Surface>;
};

/** Whoever presented a valid credential. Only a verifier makes one. */
export type AuthenticatedCaller = CallerFields & { readonly [authenticated]: true };

/**
 * Names a caller among all: what is kept or counted for one is no other's. Many users share the principal of a client,
 * each with a grant of their own.
 */
export function callerKey({ principal, owner }: Pick<CallerFields, 'principal' | 'owner'>): string {
  return principal.startsWith('OAuthClient:') ? `${principal}|${owner}` : principal;
}

/** For the verifiers alone, once the credential is proven. */
export function authenticatedCaller(fields: CallerFields): AuthenticatedCaller {
  return Object.freeze({ ...fields }) as AuthenticatedCaller;
}
