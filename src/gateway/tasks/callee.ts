import type { ConfiguredServer } from '../../upstream/builtin-server.ts';

/** What a request is sent to: a server, or one that is spoken to in another way than it was asked in. */
export type Callee = Pick<ConfiguredServer, 'name' | 'era' | 'legDeadline' | 'call'>;

/** The same server, with another way to call it. */
export function calledBy(server: Callee, call: Callee['call']): Callee {
  return {
    name: server.name,
    era: server.era,
    get legDeadline() {
      return server.legDeadline;
    },
    call,
  };
}
