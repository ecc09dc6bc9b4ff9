import type { JsonObject } from '../protocol/jsonrpc.ts';
import { DEFAULT_LOG_LEVEL, isLoggedAt, isLogLevel } from '../protocol/log-levels.ts';
import type { LegacySession } from './sessions.ts';

/** A legacy session's standalone stream, and the session it belongs to. */
export type SessionStream = {
  session: LegacySession;
  notify(method: string, params: JsonObject): void;
  /** The resources that the session wants to hear of are others now. Resolves when that is in force. */
  resubscribe(): Promise<void>;
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

  /** A message belongs on one stream only, however many the client has open (2025-11-25 basic/transports). */
  log(session: string, params: JsonObject): void {
    const [stream] = this.streams.get(session) ?? [];
    if (!stream) return;
    const { logLevel } = stream.session.envelope;
    const level = isLogLevel(logLevel) ? logLevel : DEFAULT_LOG_LEVEL;
    if (isLoggedAt(level, params.level)) stream.notify('notifications/message', params);
  }

  /** Something that concerns this session alone. Nobody hears it while no stream is open. */
  tell(session: string, method: string, params: JsonObject): void {
    const [stream] = this.streams.get(session) ?? [];
    stream?.notify(method, params);
  }

  async resubscribe(session: string): Promise<void> {
    await Promise.all([...(this.streams.get(session) ?? [])].map((stream) => stream.resubscribe()));
  }
}
