import type { Audit } from './audit.ts';
import type { AuditEvent } from './event.ts';

export type Countable = {
  /** With the details `count` and `since` among those that its event may have. */
  event: AuditEvent;
  /** What counts as the same; everything else is told of the first alone. */
  kind: string;
  /** Whoever could cause these at will: one source has few kinds a minute of its own. */
  source: string;
  /** So many of a kind are rows of their own in a minute; the rest is counted into one more. */
  rows: number;
};

type Window = { event: AuditEvent; rows: number; count: number; since: number };

const MINUTE_MS = 60_000;
const MAX_KINDS = 1_000;
const MAX_KINDS_OF_ONE = 20;
const MANY = 'too many kinds to tell apart';

/**
 * Events that somebody from outside can cause as often as they like: whoever floods writes few more rows than somebody
 * who does it once.
 */
export class CountedEvents {
  readonly #audit: Pick<Audit, 'record'>;
  #windows = new Map<string, Window>();
  #kindsOf = new Map<string, number>();
  readonly #timer: NodeJS.Timeout;

  constructor(audit: Pick<Audit, 'record'>) {
    this.#audit = audit;
    this.#timer = setInterval(() => this.flush(), MINUTE_MS).unref();
  }

  note({ event, kind, source, rows }: Countable): void {
    const known = this.#windows.get(kind);
    if (known) this.#again(known, event, rows);
    else if (this.#windows.size >= MAX_KINDS) this.#noteOther({ ...event, actor: { kind: 'stranger' } }, '');
    else if ((this.#kindsOf.get(source) ?? 0) >= MAX_KINDS_OF_ONE) this.#noteOther(event, source);
    else {
      this.#kindsOf.set(source, (this.#kindsOf.get(source) ?? 0) + 1);
      this.#windows.set(kind, { event, rows: 1, count: 0, since: Date.now() });
      this.#audit.record(event);
    }
  }

  /** One row for all of each kind that came since the last one. */
  flush(): void {
    const windows = this.#windows;
    this.#windows = new Map();
    this.#kindsOf = new Map();
    for (const { event, count, since } of windows.values()) {
      if (count === 0) continue;
      const { at, trace, ...same } = event;
      const detail = { ...event.detail, count, since: new Date(since).toISOString() };
      this.#audit.record({ ...same, detail });
    }
  }

  close(): void {
    clearInterval(this.#timer);
    this.flush();
  }

  #again(known: Window, event: AuditEvent, rows: number): void {
    if (known.rows < rows) {
      known.rows += 1;
      this.#audit.record(event);
    } else known.count += 1;
  }

  /** One row for all that a source does beyond its kinds; one for everybody where there are too many sources. */
  #noteOther({ event, outcome, actor, address }: AuditEvent, source: string): void {
    const kind = `others ${event} ${source}`;
    const known = this.#windows.get(kind);
    if (known) known.count += 1;
    else {
      const other = { event, outcome, actor, detail: { reason: MANY } };
      const from = source === '' ? 'others' : address;
      this.#windows.set(kind, { event: { ...other, address: from }, rows: 0, count: 1, since: Date.now() });
    }
  }
}
