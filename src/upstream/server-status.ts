import type { Isolation } from '../resources/spec.ts';
import type { Connection, LinkState } from './connection.ts';
import type { Transport } from './transport.ts';

/** What is known of a server, from memory. */
export type UpstreamStatus = {
  name: string;
  /** Undefined when its configuration does not resolve. */
  transport: Transport['kind'] | 'builtin' | undefined;
  state: LinkState;
  revision?: string;
  /** When the era was last probed, ISO 8601. */
  probedAt?: string;
  isolation?: Isolation;
  connections: number;
  inFlight: number;
  /** In the last list; undefined before the first. */
  tools?: number;
  lastError?: string;
  retryInMs?: number;
};

/** A server as one circle meets it, from memory. */
export type ServerHealth = {
  /** Its lists are known, if perhaps old. */
  listed: boolean;
  needsLogin: boolean;
  /** What was wrong the last time; undefined: nothing, as far as anybody knows. */
  fault: string | undefined;
};

export type ConnectionStatus = {
  key: string;
  state: LinkState;
  since: string;
  inFlight: number;
  pid?: number;
  lastError?: string;
  retryInMs?: number;
};

export function connectionStatus(connection: Connection): ConnectionStatus {
  const { key, state, since, inFlight, lastError, retryInMs } = connection;
  const { pid } = connection.diagnostics();
  return { key, state, since: new Date(since).toISOString(), inFlight, pid, lastError, retryInMs };
}

/** A server is as well as the best of its connections. */
export function overallState(states: readonly LinkState[]): LinkState {
  for (const state of ['connected', 'connecting', 'needs_auth', 'failed'] as const) {
    if (states.includes(state)) return state;
  }
  return 'disconnected';
}
