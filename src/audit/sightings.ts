import type { Transaction } from 'kysely';
import type { Store } from '../store/database.ts';
import type { Schema } from '../store/schema.ts';
import type { Audit } from './audit.ts';
import type { AuditEvent } from './event.ts';

const AT_ONCE = 200;

/** The tools that a server lists now: upstream name, with a digest of the definition. */
export type SeenTools = ReadonlyMap<string, string>;

/** How a tool is told of: its name in the audit, and what stands out in its definition. */
export type ToolTelling = { canonical: string; flags: readonly string[] };

/**
 * Tells of tools that appear, change and disappear. What was told last is kept in the database, with the row that told
 * it: a restart tells nothing again, and of several processes one does.
 */
export class ToolSightings {
  readonly #store: Store;
  readonly #audit: Audit;

  constructor(store: Store, audit: Audit) {
    this.#store = store;
    this.#audit = audit;
  }

  async note(server: string, seen: SeenTools, telling: (tool: string) => ToolTelling): Promise<void> {
    if (sameTools(await this.#known(server), seen)) return;
    await this.#store.db.transaction().execute(async (transaction) => {
      const rows = await transaction
        .selectFrom('tool_sightings')
        .select(['tool', 'fingerprint'])
        .where('server', '=', server)
        .execute();
      const known = new Map(rows.map((row) => [row.tool, row.fingerprint]));
      const events: AuditEvent[] = [];
      const tell = (event: AuditEvent['event'], tool: string, detail: AuditEvent['detail']) => {
        const { canonical, flags } = telling(tool);
        events.push({
          event,
          outcome: 'told',
          actor: { kind: 'castellan' },
          server,
          tool: canonical,
          detail: flags.length > 0 ? { ...detail, flags } : detail,
        });
      };
      for (const { tool, fingerprint } of await news(transaction, server, seen, known)) {
        const before = known.get(tool);
        if (before === undefined) tell('tool.appeared', tool, { fingerprint });
        else tell('tool.changed', tool, { fingerprint, before });
      }
      for (const [tool, fingerprint] of known) {
        if (seen.has(tool)) continue;
        await transaction
          .deleteFrom('tool_sightings')
          .where('server', '=', server)
          .where('tool', '=', tool)
          .execute();
        tell('tool.disappeared', tool, { fingerprint });
      }
      await this.#audit.append(transaction, ...events);
    });
  }

  async #known(server: string): Promise<SeenTools> {
    const rows = await this.#store.db
      .selectFrom('tool_sightings')
      .select(['tool', 'fingerprint'])
      .where('server', '=', server)
      .execute();
    return new Map(rows.map((row) => [row.tool, row.fingerprint]));
  }
}

/** Writes down what differs; what another process wrote first is no news. */
async function news(
  transaction: Transaction<Schema>,
  server: string,
  seen: SeenTools,
  known: SeenTools,
): Promise<{ tool: string; fingerprint: string }[]> {
  const told: { tool: string; fingerprint: string }[] = [];
  const rows = [...seen]
    .filter(([tool, fingerprint]) => known.get(tool) !== fingerprint)
    .map(([tool, fingerprint]) => ({ server, tool, fingerprint, seen_at: Date.now() }));
  for (let from = 0; from < rows.length; from += AT_ONCE) {
    const written = await transaction
      .insertInto('tool_sightings')
      .values(rows.slice(from, from + AT_ONCE))
      .onConflict((conflict) =>
        conflict
          .columns(['server', 'tool'])
          .doUpdateSet((set) => ({
            fingerprint: set.ref('excluded.fingerprint'),
            seen_at: set.ref('excluded.seen_at'),
          }))
          .whereRef('tool_sightings.fingerprint', '!=', 'excluded.fingerprint'),
      )
      .returning(['tool', 'fingerprint'])
      .execute();
    told.push(...written);
  }
  return told;
}

function sameTools(a: SeenTools, b: SeenTools): boolean {
  return a.size === b.size && [...a].every(([tool, fingerprint]) => b.get(tool) === fingerprint);
}
