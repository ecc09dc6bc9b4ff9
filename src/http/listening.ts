import type { Gateway } from '../gateway/gateway.ts';
import { LIST_KINDS } from '../gateway/list-kinds.ts';
import { type Scope, serversOf } from '../gateway/scope.ts';
import type { SessionStream } from '../gateway/session-notices.ts';
import type { LegacySession } from '../gateway/sessions.ts';
import type { Authorizer } from '../identity/authorizer.ts';
import { type AuthenticatedCaller, callerKey } from '../identity/caller.ts';
import { declares, extensionFault, TASKS } from '../protocol/extensions.ts';
import { relayedCapabilities } from '../protocol/input-requests.ts';
import { ErrorCode, isObject, type JsonObject, type JsonRpcRequest } from '../protocol/jsonrpc.ts';
import { LIST_NOTICES, type ListNotice } from '../protocol/list-notices.ts';
import type { Envelope } from '../protocol/model.ts';
import { codecs } from '../protocol/wire/table.ts';
import type { Snapshot } from '../resources/spec.ts';
import type { Circle } from '../upstream/circle.ts';
import { TASK_NOTICE } from '../upstream/task-subscription.ts';
import type { Admitted } from './admission.ts';
import { NoticeStream } from './notice-stream.ts';
import type { OpenStreams } from './open-streams.ts';
import { answerError, refuseHttp } from './refused-requests.ts';
import { isPrimed } from './reply.ts';
import { ResourceFeed, subscribable } from './resource-feed.ts';
import { resumeAfter } from './resumable-streams.ts';
import { TaskFeed } from './task-feed.ts';

export type ListeningDeps = {
  gateway: Gateway;
  streams: OpenStreams;
  authorizer: Authorizer;
  snapshot(): Snapshot;
};

/** Opens the streams on which clients hear of what changes: the modern subscription and the legacy GET stream. */
export class Listening {
  private readonly deps: ListeningDeps;

  constructor(deps: ListeningDeps) {
    this.deps = deps;
  }

  /** Answers a modern `subscriptions/listen`. */
  subscribe({ res, caller, scope }: Admitted, message: JsonRpcRequest): void {
    const asked = isObject(message.params?.notifications) ? message.params.notifications : undefined;
    if (!asked) {
      const error = { code: ErrorCode.invalidParams, message: 'params.notifications must be an object' };
      answerError(res, 200, message.id, error);
      return;
    }
    const wanted = (Object.keys(LIST_NOTICES) as ListNotice[]).filter((kind) => asked[kind] === true);
    const stream = new NoticeStream(res, whose(caller), wanted, message.id);
    const { envelope } = codecs.modern.decodeRequest(message.method, message.params, undefined);
    const circle = circleOf(caller, `principal:${callerKey(caller)}`, envelope);
    if (asked.taskIds !== undefined && !declares(circle.relayed.modern, TASKS)) {
      const error = extensionFault(TASKS);
      answerError(res, codecs.modern.errorStatus(error.code), message.id, error);
      return;
    }
    const feed = this.openNotices(stream, { res, caller, scope }, circle);
    if (!feed) return;
    const told = (params: JsonObject) => stream.notify(TASK_NOTICE, params);
    const onlooker = { caller, scope: () => this.scopeNow(scope, caller), circle };
    const tasks = Array.isArray(asked.taskIds)
      ? new TaskFeed(this.deps.gateway.tasks.watches, onlooker, asked.taskIds, told)
      : undefined;
    if (tasks) stream.onOver(() => tasks.end());
    const resources = Array.isArray(asked.resourceSubscriptions)
      ? feed.set(subscribable(asked.resourceSubscriptions))
      : undefined;
    // What nobody has to be asked for is acknowledged at once.
    if (!resources && !tasks) {
      stream.acknowledge(undefined);
      return;
    }
    void Promise.all([resources, tasks?.honoured]).then(([uris, taskIds]) => {
      stream.acknowledge(uris, taskIds);
      tasks?.start();
    });
  }

  /** The surface as it is now: a stream outlives the project, and the rights, as they were when it began. */
  private scopeNow({ project, surface }: Scope, caller: AuthenticatedCaller): Scope {
    const rights = this.deps.authorizer.toolRights(caller, project.name);
    const now = this.deps.snapshot().projects.get(project.name);
    // Another project of the same name is not the one that the caller's credential opens.
    return { project: now?.uid === project.uid ? now : emptied(project), surface, rights };
  }

  /** Answers the GET of a legacy session. */
  listen({ req, res, caller, scope }: Admitted, session: LegacySession): void {
    const { resumable } = this.deps.streams;
    const resumed = resumeAfter(req, session, resumable, res);
    if (resumed === 'done') return;
    if (resumed === 'gone') {
      refuseHttp(res, 400, 'The stream of this Last-Event-ID is not here any more');
      return;
    }
    resumable.dropLostStanding(session.handle);
    const wanted = Object.keys(LIST_NOTICES) as ListNotice[];
    const owner = { ...whose(caller), session: session.handle, primed: isPrimed(session) };
    const stream = new NoticeStream(res, owner, wanted);
    const circle = circleOf(caller, session.handle, session.envelope);
    const { sessionNotices } = this.deps.gateway;
    const member: SessionStream = {
      session,
      get connected() {
        return stream.connected;
      },
      notify: (method, params) => stream.notify(method, params),
      resubscribe: async () => void (await feed?.set(member.session.subscriptions)),
      end: () => stream.end(),
    };
    const speaks = () => sessionNotices.speaks(member);
    const feed = this.openNotices(stream, { res, caller, scope }, circle, speaks);
    if (!feed) return;
    stream.onOver(sessionNotices.join(member));
    void member.resubscribe();
    // What this client has missed is not known any more: everything may have changed.
    if (resumed === 'anew') stream.changed(LIST_KINDS);
  }

  /**
   * What feeds the stream with changes of resources; undefined when it was refused. `speaks`: whether it is the one of
   * several streams that is told.
   */
  private openNotices(
    stream: NoticeStream,
    { res, caller, scope }: Pick<Admitted, 'res' | 'caller' | 'scope'>,
    circle: Circle,
    speaks = () => true,
  ): ResourceFeed | undefined {
    const { gateway } = this.deps;
    const scopeNow = () => this.scopeNow(scope, caller);
    const onlooker = { caller, scope: scopeNow, circle };
    const feed = new ResourceFeed(
      (uri, updated) => gateway.watches.watch(onlooker, uri, updated),
      (params) => {
        if (speaks()) stream.notify('notifications/resources/updated', params);
      },
    );
    const changes = gateway.lists.follow(() => {
      const view = gateway.views.current(scopeNow(), circle);
      // Whoever has begun a task somewhere has to hear of what the others do not see.
      return view.begun ?? view;
    });
    const unlisten = gateway.changes.listen({
      servers: () => serversOf(scopeNow()),
      changed: () => {
        const kinds = changes();
        if (speaks()) stream.changed(kinds);
      },
    });
    const leave = () => {
      unlisten();
      feed.end();
    };
    if (!stream.open(this.deps.streams, leave)) {
      refuseHttp(res, 429, 'Too many calls and streams are open', { 'retry-after': '5' });
      return undefined;
    }
    return feed;
  }
}

/** A project that is gone, as a stream that was opened on it sees it. */
function emptied(project: Scope['project']): Scope['project'] {
  return { ...project, spec: { ...project.spec, servers: [], operatorServers: [] } };
}

function circleOf(caller: AuthenticatedCaller, session: string, envelope: Envelope): Circle {
  return {
    owner: caller.owner,
    principal: callerKey(caller),
    session,
    relayed: relayedCapabilities(envelope.clientCapabilities),
  };
}

function whose(caller: AuthenticatedCaller) {
  return { caller, principal: callerKey(caller), tokenId: caller.credentialId };
}
