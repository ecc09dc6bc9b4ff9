import type { Sealer } from '../../base/seal.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import { relayedCapabilities } from '../../protocol/input-requests.ts';
import { isObject, type JsonObject } from '../../protocol/jsonrpc.ts';
import { canonicalName } from '../../protocol/names.ts';
import type { Circle } from '../../upstream/circle.ts';
import { type CallerOnSurface, callerContext, serversOf } from '../scope.ts';

/** A task of a server, as our id of it carries it. */
export type TaskRef = {
  server: string;
  /** The server's own id. */
  id: string;
  /** Name of the tool that became the task, as its server has it. */
  tool: string;
  /** On a legacy server: on which of its sessions the task lives. */
  home: { session: string; capabilities: JsonObject } | undefined;
};

type Sealed = { s: string; t: string; n: string; h?: [string, JsonObject] };

const PURPOSE = 'task-id';
const MAX_ID = 8_192;

/**
 * Ids of tasks as clients know them: sealed for one principal on one surface, so that another's is as unknown as a
 * forged one, and so that a restart or another replica opens them too.
 */
export class TaskIds {
  private readonly sealer: Sealer;
  private readonly authorizer: Authorizer;

  constructor(sealer: Sealer, authorizer: Authorizer) {
    this.sealer = sealer;
    this.authorizer = authorizer;
  }

  seal(from: CallerOnSurface, { server, id, tool, home }: TaskRef): string {
    const sealed: Sealed = { s: server, t: id, n: tool };
    if (home) sealed.h = [home.session, home.capabilities];
    return this.sealer.seal(PURPOSE, JSON.stringify(sealed), callerContext(from));
  }

  /** Undefined: no task of this caller, on a server that the surface still shows, of a tool that it may still run. */
  open(from: CallerOnSurface, taskId: unknown): TaskRef | undefined {
    if (typeof taskId !== 'string' || taskId.length > MAX_ID) return undefined;
    const opened = this.sealer.open(PURPOSE, taskId, callerContext(from));
    if (!opened.ok) return undefined;
    const sealed: unknown = JSON.parse(opened.value);
    if (!isObject(sealed)) return undefined;
    const { s, t, n, h } = sealed as Sealed;
    if (!serversOf(from.scope).includes(s)) return undefined;
    const { name: project } = from.scope.project;
    const ask = { role: 'run', resource: 'tools', name: canonicalName(s, n), project } as const;
    if (!this.authorizer.decide(from.caller, ask).allowed) return undefined;
    return { server: s, id: t, tool: n, home: h && { session: h[0], capabilities: h[1] } };
  }
}

/** The circle whose connection a task lives on: the one of the call that began it, whoever of its owner asks now. */
export function circleOf(task: TaskRef, circle: Circle): Circle {
  if (!task.home) return circle;
  const { session, capabilities } = task.home;
  const { owner, principal } = circle;
  return { owner, principal, session, relayed: relayedCapabilities(capabilities) };
}
