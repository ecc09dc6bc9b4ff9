import { type AuthenticatedCaller, callerKey } from '../../identity/caller.ts';
import type { OpenStream, OpenStreams } from '../open-streams.ts';

const CHECK_EVERY_MS = 1_000;

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
  #checkedAt = 0;

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

  /** Nothing is said while there is nothing to say. */
  keepAlive(): void {}

  /** Together with the poll for what others change, a right that is lost ends it within five seconds. */
  watch(now: number): void {
    if (now - this.#checkedAt < CHECK_EVERY_MS) return;
    this.#checkedAt = now;
    if (!this.#isAdmitted()) this.end();
  }

  end(): void {
    this.#ended.abort();
  }

  close(): void {
    this.#streams.delete(this);
  }
}
