export type CallOutcome = 'ok' | 'tool_error' | 'error' | 'fault';

/** Upper bounds of the duration buckets, seconds. */
export const DURATION_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

type Series = { server: string; outcome: CallOutcome; count: number; seconds: number; buckets: number[] };

/** Counts of tool calls by server and outcome; bounded by the number of servers that are configured. */
export class CallStats {
  private readonly series = new Map<string, Series>();

  record(server: string, outcome: CallOutcome, ms: number): void {
    const key = `${outcome} ${server}`;
    let one = this.series.get(key);
    if (!one) {
      one = { server, outcome, count: 0, seconds: 0, buckets: DURATION_BUCKETS.map(() => 0) };
      this.series.set(key, one);
    }
    const seconds = ms / 1_000;
    one.count += 1;
    one.seconds += seconds;
    const bucket = DURATION_BUCKETS.findIndex((bound) => seconds <= bound);
    if (bucket >= 0) one.buckets[bucket]! += 1;
  }

  /** Forgets servers that are no longer configured. */
  retain(isConfigured: (server: string) => boolean): void {
    for (const [key, { server }] of this.series) if (!isConfigured(server)) this.series.delete(key);
  }

  [Symbol.iterator](): IterableIterator<Readonly<Series>> {
    return this.series.values();
  }
}
