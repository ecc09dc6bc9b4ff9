import { credentialKind } from '../base/ids.ts';
import { ok, type Result, refused } from '../base/result.ts';
import type { AuthenticatedCaller } from './caller.ts';
import type { LocalAdmin } from './local-admin.ts';
import type { AuthenticationError, Tokens } from './tokens.ts';

/** The one place that turns a presented credential into a caller, whatever its kind. */
export class Authenticator {
  readonly #tokens: Tokens;
  readonly #localAdmin: LocalAdmin;

  constructor(tokens: Tokens, localAdmin: LocalAdmin) {
    this.#tokens = tokens;
    this.#localAdmin = localAdmin;
  }

  /** The answer when it is known without waiting; undefined means: ask `authenticate`. */
  peek(raw: string): AuthenticatedCaller | undefined {
    return raw.startsWith('cst_adm_') ? this.#administrator(raw) : this.#tokens.peek(raw);
  }

  /** Rejects with a Refusal `unavailable` alone, when the database is away. */
  async authenticate(raw: string): Promise<Result<AuthenticatedCaller, AuthenticationError>> {
    if (!raw.startsWith('cst_adm_')) return this.#tokens.authenticate(raw);
    if (credentialKind(raw) !== 'adm') return refused('malformed');
    const caller = this.#administrator(raw);
    return caller ? ok(caller) : refused('unknown');
  }

  #administrator(raw: string): AuthenticatedCaller | undefined {
    return credentialKind(raw) === 'adm' ? this.#localAdmin.verify(raw) : undefined;
  }
}
