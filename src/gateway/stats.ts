export type CallOutcome = 'ok' | 'tool_error' | 'error' | 'fault';

/** Upper bounds of the duration buckets, seconds. */
export const DURATION_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

type Series = { server: string; outcome: CallOutcome; count: number; seconds: number; buckets: number[] };

/** Counts of tool calls by server and outcome; bounded by the number of servers that are configured. */
export class CallStats {
  private readonly servers = new Map<string, Map<CallOutcome, Series>>();

  record(server: string, outcome: CallOutcome, ms: number): void {
    const one = this.servers.get(server)?.get(outcome) ?? this.begin(server, outcome);
    const seconds = ms / 1_000;
    one.count += 1;
    one.seconds += seconds;
    let bucket = 0;
    while (bucket < DURATION_BUCKETS.length && seconds > DURATION_BUCKETS[bucket]!) bucket += 1;
    if (bucket < DURATION_BUCKETS.length) one.buckets[bucket]! += 1;
  }

  /** Forgets servers that are no longer configured. */
  retain(isConfigured: (server: string) => boolean): void {
    for (const server of this.servers.keys()) if (!isConfigured(server)) this.servers.delete(server);
  }

  *[Symbol.iterator](): IterableIterator<Readonly<Series>> {
    for (const outcomes of this.servers.values()) yield* outcomes.values();
  }

  private begin(server: string, outcome: CallOutcome): Series {
    const one = { server, outcome, count: 0, seconds: 0, buckets: DURATION_BUCKETS.map(() => 0) };
    const outcomes = this.servers.get(server) ?? new Map<CallOutcome, Series>();
    this.servers.set(server, outcomes.set(outcome, one));
    return one;
  }
}
