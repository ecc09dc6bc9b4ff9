import type { Socket } from 'node:net';
import { Bag } from '../base/bag.ts';
import type { Cancellation } from '../base/cancellation.ts';
import type { LegacySession } from '../gateway/sessions.ts';
import type { RequestId } from '../protocol/jsonrpc.ts';
import type { OpenStreams } from './open-streams.ts';
import type { Reply } from './reply.ts';

const CLIENT_LEFT = 'the client closed the stream';

/** `socket`: its end is the wish to stop · `handle`, `id`: what `notifications/cancelled` may name */
type Running = {
  readonly cancellation: Cancellation;
  readonly socket: Socket | undefined;
  readonly handle: string | undefined;
  readonly id: RequestId | undefined;
};

/** Calls on their way to an answer: their streams, and what cancels them. */
export class RunningCalls {
  private readonly streams: OpenStreams;
  private readonly running = new Bag<Running>();
  /** Those whose end is listened for. */
  private readonly sockets = new WeakSet<Socket>();

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
    const socket = legacy ? undefined : reply.socket;
    if (socket && !this.sockets.has(socket)) this.listen(socket);
    const running = { cancellation, socket, handle: legacy?.session?.handle, id: legacy?.id };
    this.running.add(running);
    return () => {
      this.streams.delete(reply);
      this.running.delete(running);
    };
  }

  /** The client of the session no longer wants an answer. */
  cancel({ handle }: LegacySession, id: unknown): void {
    for (const one of this.running) {
      if (one.id === id && one.handle === handle) one.cancellation.cancel('cancelled by the client');
    }
  }

  /** One listener a connection: one on every answer would cost each call. */
  private listen(socket: Socket): void {
    this.sockets.add(socket);
    socket.once('close', () => {
      for (const one of this.running) if (one.socket === socket) one.cancellation.cancel(CLIENT_LEFT);
    });
  }
}
