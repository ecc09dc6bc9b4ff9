/**
 * Where a project shows its tools once a task has begun (`exposure: gated`). A legacy session that has begun one is
 * shown everything from then on. Whoever has no session gets a handle, which names what was found for the task, and
 * sends it with later lists. It is sealed for its caller on that surface and opens nothing: a tool that the caller may
 * not run any more is not shown for it.
 */
import type { Sealer } from '../base/seal.ts';
import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import { callerContext, type GatewayRequest } from './scope.ts';
import type { LegacySessions } from './sessions.ts';
import { itemsOf, type ListName, type View } from './view.ts';

/** Member of `_meta` in which a request for a list carries the handle. */
export const HANDLE_META = 'castellan/handle';
const PURPOSE = 'task-handle';
const LIFETIME_MS = 24 * 3_600_000;
const MAX_HANDLE = 4_096;

type Sealed = { tools: readonly string[]; until: number };

export class TaskBeginnings {
  readonly #sealer: Sealer;
  readonly #sessions: Pick<LegacySessions, 'beginTask' | 'hasBegunTask'>;

  constructor(sealer: Sealer, sessions: Pick<LegacySessions, 'beginTask' | 'hasBegunTask'>) {
    this.#sealer = sealer;
    this.#sessions = sessions;
  }

  /** @param tools names of what was found for the task, as lists show them */
  async begin(
    from: GatewayRequest,
    tools: readonly string[],
  ): Promise<{ handle: string; expiresAt: string }> {
    const until = Date.now() + LIFETIME_MS;
    const sealed: Sealed = { tools, until };
    const handle = this.#sealer.seal(PURPOSE, JSON.stringify(sealed), callerContext(from));
    if (from.session) {
      await this.#sessions.beginTask(from.session);
      // On the stream of this call, which reaches the client whichever process has its other stream.
      from.sink.notify('notifications/tools/list_changed', {});
    }
    return { handle, expiresAt: new Date(until).toISOString() };
  }

  /** The tools of a handle; undefined when it is none of this caller's here, or has expired. */
  toolsOf(from: GatewayRequest, handle: unknown): readonly string[] | undefined {
    if (typeof handle !== 'string' || handle.length > MAX_HANDLE) return undefined;
    const opened = this.#sealer.open(PURPOSE, handle, callerContext(from));
    if (!opened.ok) return undefined;
    const { tools, until } = JSON.parse(opened.value) as Sealed;
    return until > Date.now() ? tools : undefined;
  }

  /** The view as it is shown to whoever asks for a list; undefined when the handle in the request is refused. */
  async shownTo(from: GatewayRequest, view: View): Promise<View | undefined> {
    const { begun } = view;
    if (!begun) return view;
    const { _meta: meta } = from.request.params;
    const handle = isObject(meta) ? meta[HANDLE_META] : undefined;
    if (handle !== undefined) {
      const tools = this.toolsOf(from, handle);
      return tools && only(begun, new Set(tools));
    }
    return from.session && (await this.#sessions.hasBegunTask(from.session)) ? begun : view;
  }
}

/** The view with these tools of servers alone. */
function only(view: View, names: ReadonlySet<string>): View {
  const kept = (list: ListName): JsonObject => ({
    ...view.lists[list],
    tools: itemsOf(view, list).filter(({ name }) => names.has(String(name)) || view.own.has(String(name))),
  });
  return { ...view, lists: { ...view.lists, tools: kept('tools'), toolsWithTasks: kept('toolsWithTasks') } };
}
