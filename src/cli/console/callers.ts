import type { RecordedEvent } from '../../audit/row.ts';

/** Whoever acts with one token in one project, or one user without a token. */
export type Caller = {
  key: string;
  user: string;
  token?: string;
  project?: string;
  /** ISO 8601, of its last event. */
  lastSeen: string;
  /** Sessions that started and have not ended, by id, with the name of the client. Clients of the current era have none. */
  sessions: ReadonlyMap<string, string>;
};

const MAX_CALLERS = 500;
const MAX_SESSIONS = 100;

/** Callers after these events, the one seen last first. */
export function seen(callers: readonly Caller[], events: readonly RecordedEvent[]): readonly Caller[] {
  const byKey = new Map(callers.map((caller) => [caller.key, caller]));
  for (const event of events) {
    if (event.user === undefined) continue;
    const key = keyOf(event);
    const before = byKey.get(key) ?? newCaller(key, event);
    const lastSeen = event.at > before.lastSeen ? event.at : before.lastSeen;
    byKey.set(key, { ...before, lastSeen, sessions: sessionsAfter(before.sessions, event) });
  }
  return [...byKey.values()]
    .sort((a, b) => (a.lastSeen > b.lastSeen ? -1 : a.lastSeen < b.lastSeen ? 1 : a.key < b.key ? -1 : 1))
    .slice(0, MAX_CALLERS);
}

const keyOf = ({ user, token, project }: RecordedEvent) =>
  JSON.stringify(token === undefined ? [user] : [user, token, project]);

function newCaller(key: string, { user = '', token, project, at }: RecordedEvent): Caller {
  const named = token === undefined ? {} : { token, ...(project === undefined ? {} : { project }) };
  return { key, user, ...named, lastSeen: at, sessions: new Map() };
}

function sessionsAfter(before: Caller['sessions'], { event, detail }: RecordedEvent): Caller['sessions'] {
  if (event !== 'session.started' && event !== 'session.ended') return before;
  const { session, client } = (detail ?? {}) as { session?: unknown; client?: unknown };
  if (typeof session !== 'string') return before;
  const after = new Map(before);
  if (event === 'session.ended') after.delete(session);
  else after.set(session, typeof client === 'string' ? client : 'client without a name');
  const oldest = after.keys().next().value;
  if (after.size > MAX_SESSIONS && oldest !== undefined) after.delete(oldest);
  return after;
}
