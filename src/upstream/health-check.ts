import { messageOf } from '../base/errors.ts';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import type { HealthCheckSpec } from '../resources/spec.ts';
import type { UpstreamReply } from './calls.ts';
import type { Connection } from './connection.ts';
import { UpstreamFault } from './transport.ts';

const MAX_BYTES = 32 * 1024 * 1024;

/** To be told how a call ended that a health check made. */
export type HealthCallEnd = (outcome: 'ok' | 'tool_error' | 'error') => void;
/** Asked before a health check calls a tool; undefined means that it must not be called now. */
export type BeginHealthCall = (tool: string) => Promise<HealthCallEnd | undefined>;

/** Asks a server again and again whether it is well; one that nobody uses is not woken up for it. */
export class HealthCheck {
  private readonly spec: HealthCheckSpec;
  private readonly begin: BeginHealthCall;
  private nextAt: number | undefined;
  /** In a row. */
  private readonly failures = new WeakMap<Connection, number>();

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
    const { tool } = this.spec;
    if (tool === undefined) {
      await this.ask(connection, 'tools/list', {});
      return;
    }
    const ended = await this.begin(tool);
    if (!ended) return;
    ended(outcomeOf(await this.ask(connection, 'tools/call', { name: tool, arguments: {} })));
  }

  /** Undefined when there is no answer; after so many times the connection's channel is given up. */
  private async ask(
    connection: Connection,
    method: string,
    params: JsonObject,
  ): Promise<UpstreamReply | undefined> {
    const { timeoutMs, failures: allowed } = this.spec;
    const { peer } = connection;
    try {
      const deadline = Date.now() + timeoutMs;
      const reply = await connection.probe({ method, params, deadline, maxBytes: MAX_BYTES });
      if (reply) this.failures.delete(connection);
      return reply;
    } catch (error) {
      const failures = (this.failures.get(connection) ?? 0) + 1;
      this.failures.set(connection, failures);
      // It is another channel's fault where the connection has a new one.
      if (failures < allowed || connection.peer !== peer) return undefined;
      this.failures.delete(connection);
      await connection.giveUp(new UpstreamFault('unreachable', `health check failed: ${messageOf(error)}`));
      return undefined;
    }
  }
}

function outcomeOf(reply: UpstreamReply | undefined): Parameters<HealthCallEnd>[0] {
  if (reply?.ok !== true) return 'error';
  return reply.result.isError === true ? 'tool_error' : 'ok';
}
