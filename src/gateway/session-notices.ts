import type { JsonObject } from '../protocol/jsonrpc.ts';
import { DEFAULT_LOG_LEVEL, isLoggedAt, isLogLevel } from '../protocol/log-levels.ts';
import type { LegacySession } from './sessions.ts';

/** A legacy session's standalone stream, and the session it belongs to. */
export type SessionStream = {
  session: LegacySession;
  /** Somebody is there to read it now, and need not come back first. */
  readonly connected: boolean;
  notify(method: string, params: JsonObject): void;
  /** The resources that the session wants to hear of are others now. Resolves when that is in force. */
  resubscribe(): Promise<void>;
  end(): void;
};

/** The open standalone streams of legacy sessions, for what concerns one conversation and no call of it. */
export class SessionNotices {
  private readonly streams = new Map<string, Set<SessionStream>>();

  join(stream: SessionStream): () => void {
    const { handle } = stream.session;
    const streams = this.streams.get(handle) ?? new Set();
    this.streams.set(handle, streams.add(stream));
    return () => {
      streams.delete(stream);
      if (streams.size === 0 && this.streams.get(handle) === streams) this.streams.delete(handle);
    };
  }

  /** Whether this one is told: a message goes on one stream, however many are open (2025-11-25 basic/transports). */
  speaks(stream: SessionStream): boolean {
    return this.speaker(stream.session.handle) === stream;
  }

  /** Something that a server said to this session and during no call of it. */
  tell(session: string, method: string, params: JsonObject): void {
    const stream = this.speaker(session);
    if (!stream) return;
    const { logLevel } = stream.session.envelope;
    const level = isLogLevel(logLevel) ? logLevel : DEFAULT_LOG_LEVEL;
    if (method !== 'notifications/message' || isLoggedAt(level, params.level)) stream.notify(method, params);
  }

  /** The session asked for something: its streams go by it from now on. */
  async changed(session: LegacySession): Promise<void> {
    const streams = [...(this.streams.get(session.handle) ?? [])];
    // One that is open for long may hold what the session was when it was last looked up.
    for (const stream of streams) stream.session = session;
    await Promise.all(streams.map((stream) => stream.resubscribe()));
  }

  /** The session is over. */
  end(session: string): void {
    for (const stream of [...(this.streams.get(session) ?? [])]) stream.end();
  }

  private speaker(session: string): SessionStream | undefined {
    let first: SessionStream | undefined;
    for (const stream of this.streams.get(session) ?? []) {
      if (stream.connected) return stream;
      first ??= stream;
    }
    return first;
  }
}
