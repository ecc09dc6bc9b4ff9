import type { CountedEvents } from './counted-events.ts';
import type { AuditActor } from './event.ts';

export type Denial = {
  /**
   * `auth.failed`: nobody was proven · `auth.refused`: somebody was, and this is not open to them · `api.refused`: they
   * lack the right to what they asked of the API
   */
  event: 'auth.failed' | 'auth.refused' | 'api.refused';
  actor: AuditActor;
  address: string;
  reason: string;
  project?: string;
  trace?: string | undefined;
  /** Of the first of its kind. */
  about?: { readonly [detail: string]: unknown };
};

/** Who was turned away: a guesser writes no more rows than somebody who mistyped. */
export class Denials {
  readonly #counted: CountedEvents;

  constructor(counted: CountedEvents) {
    this.#counted = counted;
  }

  note({ event, actor, address, reason, project, trace, about }: Denial): void {
    const detail = { ...about, count: 1, reason, since: new Date().toISOString() };
    const who = actor.kind === 'stranger' ? address : JSON.stringify(Object.values(actor));
    this.#counted.note({
      event: {
        event,
        outcome: 'refused',
        actor,
        address,
        trace,
        detail,
        ...(project !== undefined && { project }),
      },
      kind: JSON.stringify([event, address, reason, project, Object.values(actor)]),
      source: who,
      rows: 1,
    });
  }
}
