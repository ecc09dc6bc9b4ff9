import type { IncomingMessage, ServerResponse } from 'node:http';
import type { LegacySession } from '../gateway/sessions.ts';
import { parseEventId, ResumableStream, type StreamKind, type StreamOwner } from './resumable-stream.ts';

export type ResumeLimits = {
  /** Streams and kept characters of one session. */
  perSession: { streams: number; kept: number };
  overall: { streams: number; kept: number };
  /** So long after the loss of the connection a question may still be answered and a standing stream resumed, ms. */
  awayMs: number;
  /** How long an ended stream is kept: when all of it went out, and when its client was not there, ms. */
  deliveredMs: number;
  missedMs: number;
};

const LIMITS: ResumeLimits = {
  perSession: { streams: 64, kept: 8 * 1024 * 1024 },
  overall: { streams: 4_096, kept: 32 * 1024 * 1024 },
  awayMs: 60_000,
  deliveredMs: 30_000,
  missedMs: 300_000,
};

/** Streams that share limits, the one used longest ago first. */
class Pool {
  readonly streams = new Set<ResumableStream>();
  kept = 0;
  private readonly limit: { streams: number; kept: number };

  constructor(limit: { streams: number; kept: number }) {
    this.limit = limit;
  }

  get over(): boolean {
    return this.streams.size > this.limit.streams || this.kept > this.limit.kept;
  }

  /** Who goes first: what has ended, then what nobody listens to, then the oldest. */
  victim(): ResumableStream | undefined {
    let away: ResumableStream | undefined;
    for (const stream of this.streams) {
      if (stream.endedAt !== undefined) return stream;
      if (!away && !stream.connected) away = stream;
    }
    return away ?? this.streams.values().next().value;
  }
}

/**
 * The event streams of legacy sessions that a client may come back to, within bounds. A stream that has to go keeps
 * its connection and loses only what was kept for a second one.
 */
export class ResumableStreams {
  private readonly limits: ResumeLimits;
  private readonly byId = new Map<string, ResumableStream>();
  private readonly all: Pool;
  private readonly sessions = new Map<string, Pool>();

  constructor(limits: ResumeLimits = LIMITS) {
    this.limits = limits;
    this.all = new Pool(limits.overall);
  }

  get size(): number {
    return this.byId.size;
  }

  /** A new stream on its first connection. `primed`: it begins with an id to resume from. */
  open(kind: StreamKind, owner: StreamOwner, res: ServerResponse, primed: boolean): ResumableStream {
    const stream = new ResumableStream(kind, owner, (grown, by) => this.grew(grown, by));
    stream.start(res, primed);
    const pool = this.sessions.get(owner.session) ?? new Pool(this.limits.perSession);
    this.sessions.set(owner.session, pool);
    this.byId.set(stream.id, stream);
    for (const each of [pool, this.all]) each.streams.add(stream);
    this.relieve(pool);
    return stream;
  }

  /**
   * Goes on with the stream of that event on this connection. `unknown`: no such stream in this session, or it no
   * longer has all that came after the event; nothing is written then.
   */
  resume(lastEventId: string, session: string, res: ServerResponse): 'resumed' | 'unknown' {
    const event = parseEventId(lastEventId);
    const stream = event && this.byId.get(event.stream);
    if (!stream || stream.session !== session || !stream.resume(res, event.seq)) return 'unknown';
    for (const { streams } of [this.all, this.sessions.get(session)!]) {
      streams.delete(stream);
      streams.add(stream);
    }
    return 'resumed';
  }

  /** Forgets the streams of that session, or token, that nobody is connected to, and how to resume the others. */
  drop(whose: { session: string } | { tokenId: string }): void {
    const streams = 'session' in whose ? this.sessions.get(whose.session)?.streams : this.all.streams;
    for (const stream of [...(streams ?? [])]) {
      if ('session' in whose || stream.tokenId === whose.tokenId) this.remove(stream);
    }
  }

  /** A client that listens anew does not come back to the standing streams that it lost. */
  dropLostStanding(session: string): void {
    for (const stream of [...(this.sessions.get(session)?.streams ?? [])]) {
      if (stream.kind === 'standing' && !stream.connected) this.remove(stream);
    }
  }

  /** Ends a stream for good: in good order, or as a connection that breaks. */
  close(stream: ResumableStream, how: 'end' | 'destroy'): void {
    this.remove(stream);
    stream.close(how);
  }

  private remove(stream: ResumableStream): void {
    if (!this.byId.delete(stream.id)) return;
    const pool = this.sessions.get(stream.session)!;
    for (const each of [pool, this.all]) {
      each.streams.delete(stream);
      each.kept -= stream.kept;
    }
    if (pool.streams.size === 0) this.sessions.delete(stream.session);
    stream.forget();
  }

  /** Called every few seconds: lets go what nobody came back for in time. */
  sweep(now: number): void {
    const { awayMs, deliveredMs, missedMs } = this.limits;
    for (const stream of [...this.all.streams]) {
      if (stream.lostAt === undefined) continue;
      const away = now - stream.lostAt;
      if (stream.endedAt !== undefined) {
        const age = now - Math.max(stream.endedAt, stream.lostAt);
        if (age >= (stream.delivered ? deliveredMs : missedMs)) this.remove(stream);
      } else if (away >= awayMs) {
        // The call behind an answer stream goes on, and its answer may still be fetched.
        if (stream.kind === 'standing') this.remove(stream);
        else stream.giveUp();
      }
    }
  }

  private grew(stream: ResumableStream, by: number): void {
    const pool = this.sessions.get(stream.session)!;
    pool.kept += by;
    this.all.kept += by;
    this.relieve(pool);
  }

  private relieve(pool: Pool): void {
    for (const each of [pool, this.all]) {
      while (each.over) this.remove(each.victim()!);
    }
  }
}

/**
 * Goes on with the stream that a GET names. `done`: it did. `new`: none is named. `anew`: a standing stream that is
 * not here any more, for which another will do. `gone`: nothing can take the place of that stream.
 */
export function resumeAfter(
  req: IncomingMessage,
  session: LegacySession,
  streams: ResumableStreams,
  res: ServerResponse,
): 'done' | 'new' | 'anew' | 'gone' {
  const last = req.headers['last-event-id'];
  if (typeof last !== 'string') return 'new';
  if (streams.resume(last, session.handle, res) === 'resumed') return 'done';
  // A 404 would end the session for the client, and a stream without the answer would keep it waiting: hence `gone`.
  return parseEventId(last)?.kind === 'standing' ? 'anew' : 'gone';
}
