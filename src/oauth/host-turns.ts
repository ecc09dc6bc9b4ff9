/** How long anybody waits for others who ask the same host. */
const MAX_WAIT_MS = 1_500;
const MAX_WAITING = 16;

/** Lets one request at a time go to each host. */
export class HostTurns {
  readonly #lines = new Map<string, { tail: Promise<unknown>; waiting: number }>();

  /** Undefined when the turn does not come in time; `work` is not done then. */
  async take<T>(host: string, work: () => Promise<T>): Promise<T | undefined> {
    const line = this.#lines.get(host) ?? { tail: Promise.resolve(), waiting: 0 };
    if (line.waiting >= MAX_WAITING) return undefined;
    this.#lines.set(host, line);
    line.waiting += 1;
    const since = performance.now();
    const turn = line.tail.then(() => (performance.now() - since > MAX_WAIT_MS ? undefined : work()));
    line.tail = turn.catch(() => {});
    try {
      return await turn;
    } finally {
      line.waiting -= 1;
      if (line.waiting === 0) this.#lines.delete(host);
    }
  }
}
