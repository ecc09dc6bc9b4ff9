import { Bag } from '../base/bag.ts';
import type { Cancellation } from '../base/cancellation.ts';
import type { LegacySession } from '../gateway/sessions.ts';
import type { RequestId } from '../protocol/jsonrpc.ts';
import type { OpenStreams } from './open-streams.ts';
import type { Reply } from './reply.ts';

const CLIENT_LEFT = 'the client closed the stream';

type Named = { handle: string; id: RequestId; cancellation: Cancellation };

/** Calls on their way to an answer: their streams, and what cancels them. */
export class RunningCalls {
  private readonly streams: OpenStreams;
  /** Those of legacy sessions, which `notifications/cancelled` may name. */
  private readonly named = new Bag<Named>();

  constructor(streams: OpenStreams) {
    this.streams = streams;
  }

  /** What is given back ends it. Undefined when the client has too much open. A legacy call has an id to be named by. */
  begin(
    reply: Reply,
    cancellation: Cancellation,
    legacy: { session: LegacySession | undefined; id: RequestId } | undefined,
  ): (() => void) | undefined {
    if (!this.streams.add(reply)) return undefined;
    // In the legacy era a lost connection is no wish to stop (2025-11-25 basic/transports#sending-messages).
    if (!legacy) reply.onLost(() => cancellation.cancel(CLIENT_LEFT));
    const named = legacy?.session && { handle: legacy.session.handle, id: legacy.id, cancellation };
    if (named) this.named.add(named);
    return () => {
      this.streams.delete(reply);
      if (named) this.named.delete(named);
    };
  }

  /** The client of the session no longer wants an answer. */
  cancel({ handle }: LegacySession, id: unknown): void {
    for (const one of this.named) {
      if (one.id === id && one.handle === handle) one.cancellation.cancel('cancelled by the client');
    }
  }
}
