import { z } from 'zod';
import type { Circle } from '../../upstream/circle.ts';
import type { Upstreams } from '../../upstream/upstreams.ts';
import { type Scope, serversOf } from '../scope.ts';

/**
 * healthy, or nothing else is known · degraded: an older list is shown, or the last call failed · needs_auth: somebody
 * has to sign in · unavailable: nothing of it is known, and it cannot be reached · not_asked: nobody has needed it yet
 */
export const SERVER_STATES = ['healthy', 'degraded', 'needs_auth', 'unavailable', 'not_asked'] as const;
export type ServerState = (typeof SERVER_STATES)[number];

export type ServerStanding = {
  name: string;
  status: ServerState;
  /** Undefined where its configuration does not say. */
  transport: string | undefined;
  lastError: string | undefined;
};

/** How the servers of a surface stand with whoever asks, from memory: nothing is dialled and nobody waited for. */
export function standingsOf(upstreams: Upstreams, scope: Scope, circle: Circle): ServerStanding[] {
  return serversOf(scope).map((name) => {
    const server = upstreams.get(name);
    if (!server) {
      const lastError = upstreams.configurationError(name) ?? 'it is not configured';
      return { name, status: 'unavailable', transport: undefined, lastError };
    }
    const { listed, needsLogin, fault } = server.healthFor(circle);
    const bad =
      fault === undefined ? (listed ? 'healthy' : 'not_asked') : listed ? 'degraded' : 'unavailable';
    const status = needsLogin ? 'needs_auth' : bad;
    return { name, status, transport: server.spec.target.type, lastError: fault };
  });
}

/** What whoever calls can do about it. */
export function adviceOn({ name, status }: ServerStanding): string {
  switch (status) {
    case 'healthy':
      return 'Call its tools.';
    case 'not_asked':
      return 'Call its tools, or list them: that starts it.';
    case 'degraded':
      return 'Its tools can be called, and calls of them may fail; retry later, and use other servers meanwhile.';
    case 'needs_auth':
      return `Somebody has to sign in for it, with action "login" of the mcp tool or with castellan mcp login ${name}. Retrying before that does not help.`;
    case 'unavailable':
      return 'Go on without it and retry later; if it stays like this, tell whoever runs this project.';
  }
}

export const SERVER_STATE = z.enum(SERVER_STATES);
