import type { Kysely, Transaction } from 'kysely';
import type { Audit } from '../../audit/audit.ts';
import { canonicalJson } from '../../base/canonical-json.ts';
import { newId, sha256Hex } from '../../base/ids.ts';
import { ok, type Result, refused } from '../../base/result.ts';
import { auditActor } from '../../identity/audit-actor.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import type { Store } from '../../store/database.ts';
import { isUniqueViolation } from '../../store/fault.ts';
import type { Schema } from '../../store/schema.ts';
import { type Actor, Actors, provenanceOf } from './actors.ts';
import type { Act, ListWish, NewFollowup, NewTicket } from './arguments.ts';
import { changeOf } from './change.ts';
import { conflict, notYours, onHold, type TicketRefusal, unknownTicket, wrong } from './refused.ts';
import { MAX_LINKS, type Ticket, type TicketSummary } from './ticket.ts';
import {
  addEntry,
  addLink,
  addWords,
  countLinks,
  countOpen,
  findOnce,
  findTicket,
  insertTicket,
  listTickets,
  saveTicket,
  setLabels,
  stateOf,
  summaryOf,
  type TicketRow,
  wholeTicket,
} from './ticket-rows.ts';
import { type ActName, type Capacity, courseOf, type State } from './transitions.ts';
import { termsOf } from './words.ts';

export type TicketOutcome = Result<Ticket, TicketRefusal>;
export type TicketPage = { tickets: TicketSummary[]; count: number; next_cursor: string | null };

/** What a call says of itself, beside what it wants. */
type Call = { actor?: string | undefined; idempotency_key?: string | undefined };
type Entry = {
  act: ActName | 'create';
  as: Capacity;
  from: State | null;
  to: State;
  text: string | null;
  changed?: readonly string[];
};

const MAX_ENTRIES = 1_000;
const MAX_LINKS_IN_ALL = 4 * MAX_LINKS;
/** Of one user in one project: nobody reads more, and an agent in a loop ends here. */
const MAX_OPEN = 1_000;
const MAX_TRIES = 5;
const MAX_LISTENERS = 10_000;

/** Somebody else was faster: the same again, on what is there now. */
class Raced extends Error {}

/** What the transaction has written so far is not to stay. */
class Undone extends Error {
  readonly refusal: TicketRefusal;

  constructor(refusal: TicketRefusal) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

/**
 * The tickets of all projects. Every change is one transaction with its line of history and its row of the audit; what
 * the table of transitions does not have is refused, and leaves nothing behind.
 */
export class Tickets {
  readonly #store: Pick<Store, 'db' | 'background'>;
  readonly #audit: Pick<Audit, 'append'>;
  readonly #actors: Actors;
  readonly #listeners = new Set<(id: string) => void>();

  constructor(deps: {
    store: Pick<Store, 'db' | 'background'>;
    audit: Pick<Audit, 'append'>;
    authorizer: Authorizer;
  }) {
    this.#store = deps.store;
    this.#audit = deps.audit;
    this.#actors = new Actors(deps.authorizer);
  }

  /** Called with the id after every change that this process made. */
  onChange(listener: (id: string) => void): () => void {
    if (this.#listeners.size >= MAX_LISTENERS) throw new Error('too many listen to tickets');
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async create(actor: Actor, wish: NewTicket): Promise<TicketOutcome> {
    const fault = this.#actors.claimFault(actor, wish.actor, 'caller');
    if (fault) return refused(fault);
    return this.#write(actor, { what: 'create', ...wish }, async (db, once) => {
      const row = newRow(actor, wish);
      for (const [index, { kind, ticket_id }] of wish.links.entries()) {
        const field = `links[${index}].ticket_id`;
        if (!(await this.#seen(db, actor, ticket_id))) return refused(unknownTicket(field));
        if ((await countLinks(db, ticket_id)) >= MAX_LINKS_IN_ALL)
          return refused(wrong(field, 'has as many links as a ticket can have: leave it out'));
        await addLink(db, row.id, kind, ticket_id);
      }
      await this.#insert(db, actor, row, once);
      return ok(row);
    });
  }

  /** A new ticket that goes on where another one ends or leads elsewhere. */
  async followup(actor: Actor, id: string, wish: NewFollowup): Promise<TicketOutcome> {
    return this.#write(actor, { what: 'followup', id, ...wish }, async (db, once) => {
      const origin = await this.#seen(db, actor, id);
      if (!origin) return refused(unknownTicket('ticket_id'));
      const course = this.#course(actor, origin, 'followup', wish.actor);
      if (!course.ok) return course;
      if ((await countLinks(db, id)) >= MAX_LINKS_IN_ALL)
        return refused(conflict(`ticket ${id} has as many links as a ticket can have`));
      const row = newRow(actor, { ...wish, hold: false });
      if (!(await saveTicket(db, origin, { updated_at: Date.now() }))) throw new Raced();
      const entry = { act: 'followup' as const, ...course.value, text: row.id };
      await this.#note(db, actor, origin, entry, undefined);
      await addLink(db, row.id, 'follow_up_of', id);
      await this.#insert(db, actor, row, once, { id, entry });
      return ok(row);
    }).then((outcome) => {
      if (outcome.ok) this.#changed(id);
      return outcome;
    });
  }

  /** Does one thing to a ticket. */
  async act(actor: Actor, id: string, act: Act): Promise<TicketOutcome> {
    return this.#write(actor, { what: 'act', id, ...act }, async (db, once) => {
      const row = await this.#seen(db, actor, id);
      if (!row) return refused(unknownTicket('ticket_id'));
      const course = this.#course(
        actor,
        row,
        act.act,
        act.actor,
        act.act === 'move' ? act.status : undefined,
      );
      if (!course.ok) return course;
      if (row.entries >= MAX_ENTRIES && course.value.as !== 'human')
        return refused(
          conflict(`ticket ${id} has ${MAX_ENTRIES} entries and takes no more: file a follow-up`),
        );
      const change = changeOf(row, act, course.value, Date.now());
      if (!change.ok) return change;
      const { row: changed, changed: fields } = change.value;
      if (!(await saveTicket(db, row, changed))) throw new Raced();
      const text = act.text ?? null;
      const entry = { act: act.act, ...course.value, text, changed: fields };
      await this.#note(db, actor, row, entry, once);
      const labels = changed.labels === undefined ? undefined : (JSON.parse(changed.labels) as string[]);
      if (labels) await setLabels(db, row, labels, JSON.parse(row.labels) as string[]);
      await addWords(db, row, text ?? '', changed.title ?? '', changed.body ?? '');
      await this.#tell(db, actor, { id, entry });
      return ok({ ...row, ...changed, version: row.version + 1, entries: row.entries + 1 });
    });
  }

  /** @param after entries of the history that follow this one; without it the last ones */
  async get(actor: Actor, id: string, after?: number): Promise<TicketOutcome> {
    const { db } = this.#store;
    const row = await this.#seen(db, actor, id);
    if (!row) return refused(unknownTicket('ticket_id'));
    return ok(await wholeTicket(db, row, actor.project.name, after));
  }

  /** Those that the actor may see: all of the project, or those that they created. The newest first. */
  async list(actor: Actor, wish: ListWish): Promise<Result<TicketPage, TicketRefusal>> {
    const terms = termsOf(wish.query ?? '');
    if (wish.query !== undefined && terms.length === 0)
      return refused(wrong('query', 'holds no word: write some letters or digits'));
    const before = wish.cursor === undefined ? undefined : readCursor(wish.cursor);
    if (wish.cursor !== undefined && !before)
      return refused(wrong('cursor', 'is not a next_cursor of this list: leave it out to begin anew'));
    const all = !wish.mine && this.#actors.seesAll(actor);
    const { status, ticket_type, priority, label, limit } = wish;
    const rows = await listTickets(this.#store.background, {
      ...{ project: actor.project.uid, terms, status, ticket_type, priority, label, before },
      createdBy: all ? undefined : actor.caller,
      limit: limit + 1,
    });
    const shown = rows.slice(0, limit);
    const last = rows.length > limit ? shown.at(-1) : undefined;
    return ok({
      tickets: shown.map((row) => summaryOf(row, actor.project.name)),
      count: shown.length,
      next_cursor: last ? `${last.created_at}.${last.id}` : null,
    });
  }

  /** Whether the actor may see the ticket now. */
  async sees(actor: Actor, id: string): Promise<boolean> {
    return (await this.#seen(this.#store.db, actor, id)) !== undefined;
  }

  /** Uid of the project that a ticket is in. */
  async projectOf(id: string): Promise<string | undefined> {
    return (await findTicket(this.#store.db, id))?.project_uid;
  }

  /** How often each of the tickets has changed. */
  async versions(ids: readonly string[]): Promise<Map<string, number>> {
    const rows = await this.#store.background
      .selectFrom('tickets')
      .select(['id', 'version'])
      .where('id', 'in', [...ids])
      .execute();
    return new Map(rows.map(({ id, version }) => [id, version]));
  }

  async #seen(db: Kysely<Schema>, actor: Actor, id: string): Promise<TicketRow | undefined> {
    const row = await findTicket(db, id);
    return row && row.project_uid === actor.project.uid && this.#actors.sees(actor, row) ? row : undefined;
  }

  #course(
    actor: Actor,
    row: TicketRow,
    act: ActName,
    claimed: string | undefined,
    to?: Parameters<typeof courseOf>[2]['to'],
  ): Result<{ as: Capacity; from: State; to: State }, TicketRefusal> {
    const from = stateOf(row);
    const capacities = this.#actors.capacities(actor, row);
    const course = courseOf(act, from, { capacities, to, acknowledged: row.acknowledged === 1 });
    if (course.ok) {
      const fault = this.#actors.claimFault(actor, claimed, course.as);
      return fault ? refused(fault) : ok({ as: course.as, from, to: course.to });
    }
    if (course.why === 'on_hold') return refused(onHold(row.id));
    if (course.why === 'not_yours') return refused(notYours(row.id, act, course.who));
    const wanted = to === undefined ? act : `${act} to ${to}`;
    const possible = course.possible.length > 0 ? course.possible.join(', ') : 'nothing';
    const message = `${wanted} is not possible: ticket ${row.id} is ${from}, where you can do: ${possible}`;
    return refused({ ...conflict(message), possible: course.possible });
  }

  /** Tries again when somebody else was faster; a call that was made before with this key is not made again. */
  async #write(
    actor: Actor,
    call: Call & Record<string, unknown>,
    work: (db: Transaction<Schema>, once: Once | undefined) => Promise<Result<TicketRow, TicketRefusal>>,
  ): Promise<TicketOutcome> {
    const once = onceOf(actor, call);
    for (let tried = 1; ; tried += 1) {
      try {
        const row = await this.#store.db.transaction().execute(async (db) => {
          const outcome = (once && (await this.#doneBefore(db, actor, once))) ?? (await work(db, once));
          if (!outcome.ok) throw new Undone(outcome.error);
          return outcome.value;
        });
        this.#changed(row.id);
        return ok(await wholeTicket(this.#store.db, row, actor.project.name));
      } catch (error) {
        if (error instanceof Undone) return refused(error.refusal);
        if (!(error instanceof Raced) && !isUniqueViolation(error)) throw error;
        if (tried >= MAX_TRIES)
          return refused(conflict('others change the ticket at this moment: try again'));
      }
    }
  }

  /** The ticket that the call led to when it was made before, if the actor may still see it. */
  async #doneBefore(
    db: Kysely<Schema>,
    actor: Actor,
    { key, digest }: Once,
  ): Promise<Result<TicketRow, TicketRefusal> | undefined> {
    const entry = await findOnce(db, key);
    if (!entry) return undefined;
    if (entry.once_digest !== digest)
      return refused(wrong('idempotency_key', 'was used for another call: take a new one'));
    const row = await this.#seen(db, actor, entry.ticket_id);
    return row ? ok(row) : refused(unknownTicket('ticket_id'));
  }

  async #note(
    db: Transaction<Schema>,
    { caller }: Actor,
    { id, entries }: Pick<TicketRow, 'id' | 'entries'>,
    { act, as, from, to, text, changed }: Entry,
    once: Once | undefined,
  ): Promise<void> {
    await addEntry(db, {
      ...{
        ticket_id: id,
        seq: entries,
        at: Date.now(),
        act,
        acted_as: as,
        from_state: from,
        to_state: to,
        text,
      },
      actor: caller.principal,
      actor_name: caller.tokenName ?? caller.owner,
      provenance: provenanceOf(caller),
      changed: changed && changed.length > 0 ? JSON.stringify(changed) : null,
      once: once?.key ?? null,
      once_digest: once?.digest ?? null,
    });
  }

  /** A new ticket with its first line of history, and its row of the audit, which comes last. */
  async #insert(
    db: Transaction<Schema>,
    actor: Actor,
    row: TicketRow,
    once: Once | undefined,
    ...also: Told[]
  ): Promise<void> {
    if ((await countOpen(db, row.project_uid, row.created_owner)) >= MAX_OPEN) throw new Undone(tooMany());
    await insertTicket(db, row);
    const to = stateOf(row);
    const entry = { act: 'create' as const, as: 'caller' as const, from: null, to, text: null };
    await this.#note(db, actor, { id: row.id, entries: 0 }, entry, once);
    await addWords(db, row, row.title, row.body);
    await setLabels(db, row, JSON.parse(row.labels) as string[]);
    await this.#tell(db, actor, ...also, { id: row.id, entry });
  }

  #tell(db: Transaction<Schema>, { caller, project }: Actor, ...told: Told[]): Promise<void> {
    const provenance = provenanceOf(caller);
    const changes = told.map(({ id, entry: { act, as, from, to, changed } }) => ({
      event: act === 'create' ? ('ticket.created' as const) : ('ticket.changed' as const),
      outcome: 'ok' as const,
      actor: auditActor(caller),
      project: project.name,
      target: `Ticket/${id}`,
      detail: { act, as, from, to, provenance, fields: changed },
    }));
    return this.#audit.append(db, ...changes);
  }

  #changed(id: string): void {
    for (const listener of [...this.#listeners]) listener(id);
  }
}

/** What the audit is told of a ticket. */
type Told = { id: string; entry: Entry };

/** A call that is made once, however often it is sent. */
type Once = { key: string; digest: string };

function onceOf({ caller, project }: Actor, call: Call & Record<string, unknown>): Once | undefined {
  const { idempotency_key: key, ...rest } = call;
  if (key === undefined) return undefined;
  return {
    key: sha256Hex(canonicalJson([project.uid, caller.principal, caller.owner, key])),
    digest: sha256Hex(canonicalJson(rest)),
  };
}

function newRow({ caller, project }: Actor, wish: Omit<NewTicket, 'links'>): TicketRow {
  const now = Date.now();
  const { title, body, ticket_type, priority, labels, hold } = wish;
  return {
    ...{ id: newId('tkt'), project_uid: project.uid, version: 1, title, body, ticket_type, priority },
    ...{ labels: JSON.stringify([...new Set(labels)]), status: 'pending', on_hold: hold ? 1 : 0 },
    ...{ acknowledged: 0, deferred_until: null, blocked_reason: null, proposal: null, resolution: null },
    ...{ created_by: caller.principal, created_owner: caller.owner, created_at: now, updated_at: now },
    ...{ resolved_at: null, entries: 1 },
  };
}

function tooMany(): TicketRefusal {
  return conflict(`you have ${MAX_OPEN} open tickets in this project: cancel or confirm some first`);
}

function readCursor(cursor: string): { at: number; id: string } | undefined {
  const [, at, id] = /^(\d{1,15})\.(tkt_[0-9A-Za-z]{22})$/.exec(cursor) ?? [];
  return at === undefined || id === undefined ? undefined : { at: Number(at), id };
}
