import type { TaskOnlooker, TaskWatch, TaskWatches } from '../gateway/tasks/task-watches.ts';
import type { JsonObject } from '../protocol/jsonrpc.ts';

type Told = (state: JsonObject) => void;

/** The tasks that one open stream tells of: nothing before the stream has said which they are. */
export class TaskFeed {
  /** Those that it will tell of. */
  readonly honoured: Promise<readonly string[]>;
  private readonly told: Told;
  /** The last state of each task that was told too early. */
  private early: Map<unknown, JsonObject> | undefined = new Map();
  private watch: TaskWatch | undefined;
  private ended = false;

  constructor(watches: TaskWatches, onlooker: TaskOnlooker, wanted: readonly unknown[], told: Told) {
    this.told = told;
    this.honoured = this.begin(watches.watch(onlooker, wanted, (state) => this.tell(state)));
  }

  start(): void {
    const early = [...(this.early?.values() ?? [])];
    this.early = undefined;
    for (const state of early) this.tell(state);
  }

  end(): void {
    this.ended = true;
    this.watch?.end();
  }

  private async begin(watching: Promise<TaskWatch>): Promise<readonly string[]> {
    this.watch = await watching;
    if (this.ended) this.watch.end();
    return this.watch.honoured;
  }

  private tell(state: JsonObject): void {
    if (this.ended) return;
    if (this.early) this.early.set(state.taskId, state);
    else this.told(state);
  }
}
