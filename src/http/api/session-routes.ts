import type { LegacySessions } from '../../gateway/sessions.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import type { AuthenticatedCaller } from '../../identity/caller.ts';
import type { Surface } from '../../resources/spec.ts';
import type { OpenStreams } from '../open-streams.ts';
import type { ApiContext } from './responses.ts';
import type { Route } from './route.ts';

type Deps = { authorizer: Authorizer; sessions: LegacySessions; streams: OpenStreams };

/** What somebody has open at this process: a legacy session, or streams that belong to none. */
export type SessionView = {
  /** The handle by which the audit names a session; of streams their principal. */
  id: string;
  type: 'session' | 'streams';
  user: string;
  token?: string | undefined;
  /** Left out: every project. */
  project?: string | undefined;
  surface?: Surface;
  client?: string | undefined;
  protocol?: string;
  /** ISO 8601. */
  startedAt?: string;
  lastSeenAt?: string;
  /** Streams that are open and stay so. */
  streams: number;
};

/** `/sessions`: the legacy sessions that this process has seen of late, and whoever else listens. */
export function sessionRoutes({ authorizer, sessions, streams }: Deps): Route[] {
  return [
    {
      method: 'GET',
      path: '/sessions',
      need: { list: (c) => ({ resource: 'sessions', project: projectOf(c) }) },
      doc: {
        summary: 'List the sessions and streams that this process knows of',
        query: { project: { description: 'Only those of this project.' } },
        answer: 'SessionList',
      },
      handle: (c) => {
        const project = projectOf(c);
        const items = views(sessions, streams)
          .filter((one) => project === undefined || one.project === project)
          .filter((one) => isSeen(authorizer, c.get('caller'), one));
        return c.json({ items });
      },
    },
  ];
}

function views(sessions: LegacySessions, streams: OpenStreams): SessionView[] {
  const open = streams.lasting();
  const known = sessions.seen().map(({ session, caller, project, lastSeenAt }): SessionView => {
    const { handle, surface, envelope, startedAt } = session;
    const { clientInfo, revision } = envelope;
    return {
      id: handle,
      type: 'session',
      ...ownerOf(caller),
      project,
      surface: surface as Surface,
      client: typeof clientInfo?.name === 'string' ? clientInfo.name.slice(0, 128) : undefined,
      protocol: revision,
      startedAt: new Date(startedAt).toISOString(),
      lastSeenAt: new Date(lastSeenAt).toISOString(),
      streams: open.filter((stream) => stream.session === handle).length,
    };
  });
  const others = Map.groupBy(
    open.filter(({ session }) => session === undefined),
    ({ principal }) => principal,
  );
  const listening = [...others].map(([principal, of]): SessionView => {
    const { caller } = of[0]!;
    const project = caller.project === '*' ? undefined : caller.project;
    return { id: principal, type: 'streams', ...ownerOf(caller), project, streams: of.length };
  });
  return [...known, ...listening].sort((a, b) => (a.id < b.id ? -1 : 1));
}

const ownerOf = ({ owner, tokenName }: AuthenticatedCaller) => ({ user: owner, token: tokenName });

function isSeen(authorizer: Authorizer, caller: AuthenticatedCaller, { id, project }: SessionView): boolean {
  const ask = { role: 'view', resource: 'sessions', name: id } as const;
  return authorizer.decide(caller, project === undefined ? ask : { ...ask, project }).allowed;
}

/** A token sees what is open in its own project. */
function projectOf(c: ApiContext): string | undefined {
  const { project } = c.get('caller');
  return c.req.query('project') ?? (project === '*' ? undefined : project);
}
