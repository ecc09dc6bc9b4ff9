import { type AuthenticatedCaller, callerKey } from '../../identity/caller.ts';
import type { JsonObject } from '../../protocol/jsonrpc.ts';
import type { ConfiguredServer } from '../../upstream/builtin-server.ts';
import type { Circle } from '../../upstream/circle.ts';
import type { TaskSubscription } from '../../upstream/task-subscription.ts';
import type { Upstreams } from '../../upstream/upstreams.ts';
import type { Scope } from '../scope.ts';
import { withTasks } from './declared.ts';
import type { TaskIds } from './task-ids.ts';
import type { TaskResults } from './task-results.ts';

export type TaskOnlooker = { caller: AuthenticatedCaller; scope(): Scope; circle: Circle };

/** The tasks of one open stream. */
export type TaskWatch = {
  /** Those that it tells of. */
  honoured: readonly string[];
  end(): void;
};

const MAX_WATCHED_TASKS = 100;
/** Subscriptions at servers, each for the tasks of one stream there: in all, and for one principal. */
const MAX_OPEN = 1_000;
const MAX_OPEN_PER_PRINCIPAL = 50;
const ASK_MS = 20_000;

/** Clients that want to hear of their tasks on modern servers (SEP-2663, task status notifications). */
export class TaskWatches {
  private readonly ids: TaskIds;
  private readonly upstreams: Upstreams;
  private readonly results: TaskResults;
  /** Principals of the open subscriptions. */
  private readonly open: string[] = [];

  constructor(ids: TaskIds, upstreams: Upstreams, results: TaskResults) {
    this.results = results;
    this.ids = ids;
    this.upstreams = upstreams;
  }

  /** `told` gets the state of a task as `tasks/get` would give it. A task that is not the caller's is passed over. */
  async watch(
    onlooker: TaskOnlooker,
    wanted: readonly unknown[],
    told: (params: JsonObject) => void,
  ): Promise<TaskWatch> {
    const principal = callerKey(onlooker.caller);
    const open: { names: Map<string, string>; subscription: TaskSubscription }[] = [];
    for (const [server, names] of this.byServer(onlooker, wanted)) {
      const tell = (id: unknown, { _meta: _, resultType: __, ...state }: JsonObject) => {
        const taskId = names.get(String(id));
        // Rights and surface may have changed since the stream began.
        const to = { caller: onlooker.caller, scope: onlooker.scope() };
        const task = this.ids.open(to, taskId);
        if (!task) return;
        const whole = { ...state, taskId };
        const shaped = this.results.told(to, task, whole);
        // Whoever is not told still finds the state when it asks.
        if (shaped) shaped.then(told, () => {});
        else told(whole);
      };
      if (!this.hasRoom(principal)) break;
      const subscription = this.subscribe(server, onlooker.circle, [...names.keys()], tell);
      if (!subscription) continue;
      open.push({ names, subscription });
      this.open.push(principal);
    }
    const honoured = await Promise.all(
      open.map(async ({ names, subscription }) => {
        const tasks = await subscription.honoured;
        return tasks.flatMap((task) => names.get(task) ?? []);
      }),
    );
    return {
      honoured: honoured.flat(),
      end: () => {
        for (const { subscription } of open.splice(0)) {
          subscription.end();
          this.open.splice(this.open.indexOf(principal), 1);
        }
      },
    };
  }

  private hasRoom(principal: string): boolean {
    const own = this.open.filter((one) => one === principal).length;
    return this.open.length < MAX_OPEN && own < MAX_OPEN_PER_PRINCIPAL;
  }

  private subscribe(
    server: ConfiguredServer,
    circle: Circle,
    tasks: readonly string[],
    tell: (id: unknown, state: JsonObject) => void,
  ): TaskSubscription | undefined {
    // One after the other: a server that comes back is busy enough.
    const catchUp = async (missed: readonly string[]) => {
      for (const id of missed) {
        const call = { method: 'tasks/get', params: { taskId: id }, patienceMs: ASK_MS };
        const reply = await server.call(withTasks(circle), call);
        if (reply.ok === true) tell(id, reply.result);
      }
    };
    try {
      return server.watchTasks(circle, tasks, {
        told: (params) => tell(params.taskId, params),
        renewed: (missed) => void catchUp(missed).catch(() => {}),
      });
    } catch {
      // Its connections are all busy; that is the same as not being able to tell.
      return undefined;
    }
  }

  /** The caller's tasks on modern servers: our id of each by the server's own. */
  private byServer(
    onlooker: TaskOnlooker,
    wanted: readonly unknown[],
  ): Map<ConfiguredServer, Map<string, string>> {
    const all = new Map<ConfiguredServer, Map<string, string>>();
    const from = { caller: onlooker.caller, scope: onlooker.scope() };
    for (const taskId of new Set(wanted.slice(0, MAX_WATCHED_TASKS))) {
      const task = this.ids.open(from, taskId);
      const server = task && !task.home ? this.upstreams.get(task.server) : undefined;
      if (!task || !server) continue;
      all.set(server, (all.get(server) ?? new Map<string, string>()).set(task.id, String(taskId)));
    }
    return all;
  }
}
