import { type CallStats, DURATION_BUCKETS } from '../gateway/stats.ts';

/** What `/metrics` counts beside the calls. */
export type Gauges = {
  upstreams: readonly { name: string; state: string; connections: number; inFlight: number }[];
  openStreams: number;
  audit: { waiting: number; lost: number; failing: boolean };
};

const STATES = ['disconnected', 'connecting', 'connected', 'needs_auth', 'failed', 'stopping'];

/** Prometheus text exposition format 0.0.4. */
export function metricsText(stats: CallStats, gauges: Gauges): string {
  const lines: string[] = [];
  const family = (name: string, type: string, help: string) => {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
  };

  family('castellan_tool_call_duration_seconds', 'histogram', 'Tool calls by server and outcome.');
  for (const { server, outcome, count, seconds, buckets } of stats) {
    const labels = `server="${escaped(server)}",outcome="${outcome}"`;
    const name = 'castellan_tool_call_duration_seconds';
    let below = 0;
    DURATION_BUCKETS.forEach((bound, at) => {
      below += buckets[at]!;
      lines.push(`${name}_bucket{${labels},le="${bound}"} ${below}`);
    });
    lines.push(`${name}_bucket{${labels},le="+Inf"} ${count}`);
    lines.push(`${name}_sum{${labels}} ${seconds}`, `${name}_count{${labels}} ${count}`);
  }

  family('castellan_upstream_state', 'gauge', 'Servers by state: 1 for the state that a server is in.');
  for (const { name, state } of gauges.upstreams) {
    for (const one of STATES) {
      lines.push(
        `castellan_upstream_state{server="${escaped(name)}",state="${one}"} ${one === state ? 1 : 0}`,
      );
    }
  }
  family('castellan_upstream_connections', 'gauge', 'Connections to a server, open or not.');
  for (const one of gauges.upstreams) {
    lines.push(`castellan_upstream_connections{server="${escaped(one.name)}"} ${one.connections}`);
  }
  family('castellan_upstream_calls_in_flight', 'gauge', 'Requests to a server that are not answered yet.');
  for (const one of gauges.upstreams) {
    lines.push(`castellan_upstream_calls_in_flight{server="${escaped(one.name)}"} ${one.inFlight}`);
  }
  family('castellan_open_streams', 'gauge', 'Calls and streams that are open towards clients.');
  lines.push(`castellan_open_streams ${gauges.openStreams}`);
  family('castellan_audit_waiting', 'gauge', 'Audit rows that are not written yet.');
  lines.push(`castellan_audit_waiting ${gauges.audit.waiting}`);
  family('castellan_audit_lost_total', 'counter', 'Audit rows that could not be kept: too many waited.');
  lines.push(`castellan_audit_lost_total ${gauges.audit.lost}`);
  family('castellan_audit_failing', 'gauge', '1 while the audit cannot be written.');
  lines.push(`castellan_audit_failing ${gauges.audit.failing ? 1 : 0}`);
  family('process_resident_memory_bytes', 'gauge', 'Resident memory of this process.');
  lines.push(`process_resident_memory_bytes ${process.memoryUsage.rss()}`);
  return `${lines.join('\n')}\n`;
}

function escaped(label: string): string {
  return label.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}
