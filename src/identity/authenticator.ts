import { Refusal } from '../base/errors.ts';
import { credentialKind } from '../base/ids.ts';
import { ok, type Result, refused } from '../base/result.ts';
import type { Resources } from '../resources/registry.ts';
import type { Authorizer } from './authorizer.ts';
import { type AuthenticatedCaller, authenticatedCaller } from './caller.ts';
import { lacks } from './guards.ts';
import type { LocalAdmin } from './local-admin.ts';
import type { AuthenticationError, Tokens } from './tokens.ts';

/** Knows whom the access tokens of OAuth clients stand for. */
export type AccessTokenVerifier = Pick<Tokens, 'peek' | 'authenticate'>;

/** The one place that turns a presented credential into a caller, whatever its kind. */
export class Authenticator {
  readonly #tokens: Tokens;
  readonly #accessTokens: AccessTokenVerifier;
  readonly #localAdmin: LocalAdmin;
  readonly #authorizer: Authorizer;

  readonly #resources: Pick<Resources, 'isCurrent' | 'current'>;

  /** @param resources grant the rights: while they are too old nobody is proven */
  constructor(
    tokens: Tokens,
    accessTokens: AccessTokenVerifier,
    localAdmin: LocalAdmin,
    authorizer: Authorizer,
    resources: Pick<Resources, 'isCurrent' | 'current'>,
  ) {
    this.#resources = resources;
    this.#tokens = tokens;
    this.#accessTokens = accessTokens;
    this.#localAdmin = localAdmin;
    this.#authorizer = authorizer;
  }

  /** The answer when it is known without waiting; undefined means: ask `authenticate`. */
  peek(raw: string): AuthenticatedCaller | undefined {
    if (!this.#resources.isCurrent) return undefined;
    if (raw.startsWith('cst_at_')) return this.#accessTokens.peek(raw);
    return raw.startsWith('cst_adm_') ? this.#administrator(raw) : this.#tokens.peek(raw);
  }

  /** Rejects with a Refusal `unavailable` alone, when the database is away. */
  async authenticate(raw: string): Promise<Result<AuthenticatedCaller, AuthenticationError>> {
    await this.#resources.current();
    if (raw.startsWith('cst_at_')) return this.#accessTokens.authenticate(raw);
    if (!raw.startsWith('cst_adm_')) return this.#tokens.authenticate(raw);
    if (credentialKind(raw) !== 'adm') return refused('malformed');
    const caller = this.#administrator(raw);
    return caller ? ok(caller) : refused('unknown');
  }

  /**
   * The caller acting as `subject`, `User:…` or `McpToken:…`, with no right that either of them lacks.
   * @throws Refusal `forbidden` without the action `impersonate` and when there is no such subject, `invalid` when
   *   the text names none
   */
  async impersonate(caller: AuthenticatedCaller, subject: string): Promise<AuthenticatedCaller> {
    const decision = this.#authorizer.decide(caller, { action: 'impersonate' });
    if (!decision.allowed) throw lacks(decision.missing, ', which acting as somebody else needs');
    const behind = [caller.principal, ...caller.ceilings];
    if (subject.startsWith('McpToken:')) {
      const token = await this.#tokens.callerOf(subject.slice('McpToken:'.length));
      if (!token) throw new Refusal('forbidden', 'as: there is no active token of that id');
      return authenticatedCaller({
        ...token,
        ceilings: [...token.ceilings, ...behind],
        actor: caller.principal,
      });
    }
    const shown = JSON.stringify(subject.slice(0, 80));
    if (!subject.startsWith('User:'))
      throw new Refusal('invalid', `as: ${shown} names nobody: write User:EMAIL or McpToken:ID`);
    const user = subject.slice('User:'.length);
    if (!this.#authorizer.rights().isActive(user))
      throw new Refusal('forbidden', `as: ${shown} is no active user`);
    return authenticatedCaller({
      principal: `User:${user}`,
      owner: user,
      ceilings: behind,
      actor: caller.principal,
      project: '*',
      surfaces: caller.surfaces,
    });
  }

  /** A user that was deleted or disabled has no credential any more, this one included. */
  #administrator(raw: string): AuthenticatedCaller | undefined {
    const caller = credentialKind(raw) === 'adm' ? this.#localAdmin.verify(raw) : undefined;
    return caller && this.#authorizer.rights().isActive(caller.owner) ? caller : undefined;
  }
}
