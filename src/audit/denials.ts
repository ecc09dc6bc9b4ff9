import type { Audit } from './audit.ts';
import type { AuditActor } from './event.ts';

export type Denial = {
  /** `auth.failed`: nobody was proven · `auth.refused`: somebody was, and this is not open to them. */
  event: 'auth.failed' | 'auth.refused';
  actor: AuditActor;
  address: string;
  reason: string;
  project?: string;
};

type Counted = Denial & { count: number; since: number };

const MINUTE_MS = 60_000;
const MAX_KINDS = 1_000;
const OTHERS = 'others';

/**
 * Who was turned away. The first denial of a kind is a row at once, those of the next minute are counted into one: a
 * guesser writes no more rows than somebody who mistyped.
 */
export class Denials {
  readonly #audit: Audit;
  #counted = new Map<string, Counted>();
  readonly #timer: NodeJS.Timeout;

  constructor(audit: Audit) {
    this.#audit = audit;
    this.#timer = setInterval(() => this.flush(), MINUTE_MS).unref();
  }

  note(denial: Denial): void {
    const kind = kindOf(denial);
    const known = this.#counted.get(kind);
    if (known) known.count += 1;
    else if (this.#counted.size < MAX_KINDS) {
      this.#counted.set(kind, { ...denial, count: 0, since: Date.now() });
      this.#tell({ ...denial, count: 1, since: Date.now() });
    } else this.#noteOther(denial);
  }

  /** One row for all of each kind that came since the last one. */
  flush(): void {
    const counted = this.#counted;
    this.#counted = new Map();
    for (const each of counted.values()) if (each.count > 0) this.#tell(each);
  }

  close(): void {
    clearInterval(this.#timer);
    this.flush();
  }

  /** Too many kinds to keep apart: whoever comes from everywhere is counted as one. */
  #noteOther({ event }: Denial): void {
    const reason = 'too many kinds to tell apart';
    const other: Denial = { event, actor: { kind: 'stranger' }, address: OTHERS, reason };
    const known = this.#counted.get(kindOf(other));
    if (known) known.count += 1;
    else this.#counted.set(kindOf(other), { ...other, count: 1, since: Date.now() });
  }

  #tell({ event, actor, address, reason, project, count, since }: Counted): void {
    const detail = { count, reason, since: new Date(since).toISOString() };
    this.#audit.record({ event, outcome: 'refused', actor, address, project, detail });
  }
}

function kindOf({ event, actor, address, reason, project }: Denial): string {
  return JSON.stringify([event, address, reason, project, Object.values(actor)]);
}
