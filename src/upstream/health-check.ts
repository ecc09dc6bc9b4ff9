import type { HealthCheckSpec } from '../resources/spec.ts';
import type { UpstreamReply } from './calls.ts';
import type { Connection } from './connection.ts';

/** To be told how a call ended that a health check made. */
export type HealthCallEnd = (outcome: 'ok' | 'tool_error' | 'error') => void;
/** Asked before a health check calls a tool; undefined means that it must not be called now. */
export type BeginHealthCall = (tool: string) => Promise<HealthCallEnd | undefined>;

/** Asks a server again and again whether it is well; one that nobody uses is not woken up for it. */
export class HealthCheck {
  private readonly spec: HealthCheckSpec;
  private readonly begin: BeginHealthCall;
  private nextAt: number | undefined;

  constructor(spec: HealthCheckSpec, begin: BeginHealthCall) {
    this.spec = spec;
    this.begin = begin;
  }

  sweep(now: number, connections: Iterable<Connection>): void {
    this.nextAt ??= now + this.spec.intervalMs;
    if (now < this.nextAt) return;
    this.nextAt = now + this.spec.intervalMs;
    for (const connection of connections) if (connection.state === 'connected') void this.check(connection);
  }

  private async check(connection: Connection): Promise<void> {
    const { tool, timeoutMs, failures } = this.spec;
    if (tool === undefined) {
      await connection.checkHealth({ method: 'tools/list', params: {} }, timeoutMs, failures);
      return;
    }
    const ended = await this.begin(tool);
    if (!ended) return;
    const params = { name: tool, arguments: {} };
    ended(outcomeOf(await connection.checkHealth({ method: 'tools/call', params }, timeoutMs, failures)));
  }
}

function outcomeOf(reply: UpstreamReply | undefined): Parameters<HealthCallEnd>[0] {
  if (reply?.ok !== true) return 'error';
  return reply.result.isError === true ? 'tool_error' : 'ok';
}
