import type { Relayed } from '../protocol/input-requests.ts';

/**
 * For whom a connection may be used: the principal and the owner behind it, the conversation that it belongs to, and
 * what its client can be asked, which a legacy server is told once and for all when it is dialled.
 */
export type Circle = {
  owner: string;
  principal: string;
  /** The handle of a legacy session; for who has none the principal, whose conversations are not told apart. */
  session: string;
  relayed: Relayed;
};

/** How the handle of a legacy session begins, and no other name of a conversation. */
export const SESSION = 'session:';

/** Whether this names one client's conversation, which can be told to begin anew. */
export function isSession(name: string): boolean {
  return name.startsWith(SESSION);
}
