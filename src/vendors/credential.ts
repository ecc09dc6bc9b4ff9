import type { Result } from '../base/result.ts';
import type { NoToken } from './credentials.ts';

/** What the connections of one server prove themselves with. */
export type Credential = {
  /** `Authorization` of the next request; undefined while there is none. */
  readonly header: string | undefined;
  /** Path of our own page on which its user signs in; undefined where it is nobody's in particular. */
  readonly page: string | undefined;
  /** Another one with each token. */
  readonly version: number;
  /** Whether the token at hand still counts. */
  readonly ready: boolean;
  /** Has a token that can be used. Callers share one look. Rejects when the store fails. */
  prepare(): Promise<Result<string, NoToken>>;
  /** The server refused the token of this version: the next look gets another one, or says what has to be done. */
  refuse(version: number): void;
  /**
   * The server wants these scopes beside those of that version. Good: there is another token, and the call may be made
   * again.
   */
  widen(scopes: readonly string[], version: number): Promise<Result<string, NoScope>>;
  /** Somebody signed in or out. */
  forget(): void;
};

/** `login`: signing in again may help; otherwise nothing here does. `message` is fit for a user. */
export type NoScope = { login: boolean; message: string };
