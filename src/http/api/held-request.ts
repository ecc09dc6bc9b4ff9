import { type AuthenticatedCaller, callerKey } from '../../identity/caller.ts';
import type { OpenStream, OpenStreams } from '../open-streams.ts';

/**
 * A request that goes on reading for a while: it ends with the credential that it was let in with, and when that loses
 * the right to look.
 */
export class HeldRequest implements OpenStream {
  readonly caller: AuthenticatedCaller;
  readonly principal: string;
  readonly tokenId: string | undefined;
  readonly lasting = true;
  readonly #streams: OpenStreams;
  readonly #isAdmitted: () => boolean;
  readonly #ended = new AbortController();

  constructor(caller: AuthenticatedCaller, streams: OpenStreams, isAdmitted: () => boolean) {
    this.caller = caller;
    this.principal = callerKey(caller);
    this.tokenId = caller.credentialId;
    this.#streams = streams;
    this.#isAdmitted = isAdmitted;
  }

  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  /** Whether what was read may still be handed out. */
  get goesOn(): boolean {
    if (!this.#isAdmitted()) this.end();
    return !this.#ended.signal.aborted;
  }

  keepAlive(): void {
    if (!this.#isAdmitted()) this.end();
  }

  end(): void {
    this.#ended.abort();
  }

  close(): void {
    this.#streams.delete(this);
  }
}
