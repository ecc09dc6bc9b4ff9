import type { Transaction } from 'kysely';
import { messageOf } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { Store } from '../store/database.ts';
import type { Schema } from '../store/schema.ts';

/** All calls of a project, or of every project, are stopped. */
export type Freeze = {
  /** Name of the project; `*`: every project. */
  scope: string;
  /** Empty when none was given. */
  reason: string;
  /** The principal who did it. */
  by: string;
  /** Milliseconds since 1970. */
  at: number;
};

export const EVERYTHING = '*';

/** What another process on the same database froze acts here within this time. */
const LOOK_EVERY_MS = 2_000;

/** Runs in the transaction of a change, so that both are there or none is. */
export type Alongside = (transaction: Transaction<Schema>) => Promise<void>;

/**
 * What is frozen now: asked by every call, so kept in memory, and kept in the database, so there after a restart and
 * in every process. While the database is away the last known state counts.
 */
export class Freezes {
  readonly #store: Pick<Store, 'db' | 'dialect'>;
  readonly #logger: Logger;
  #frozen: ReadonlyMap<string, Freeze> = new Map();
  #turn: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  private constructor(store: Pick<Store, 'db' | 'dialect'>, logger: Logger) {
    this.#store = store;
    this.#logger = logger;
  }

  static async open(options: { store: Pick<Store, 'db' | 'dialect'>; logger: Logger }): Promise<Freezes> {
    const freezes = new Freezes(options.store, options.logger);
    await freezes.refresh();
    if (options.store.dialect === 'postgres') {
      freezes.#timer = setInterval(() => void freezes.#look(), LOOK_EVERY_MS).unref();
    }
    return freezes;
  }

  /** Why calls of this project are stopped; undefined when they are not. */
  of(project: string): Freeze | undefined {
    return this.#frozen.get(EVERYTHING) ?? this.#frozen.get(project);
  }

  /** By scope. */
  list(): Freeze[] {
    return [...this.#frozen.values()].sort((a, b) => (a.scope < b.scope ? -1 : 1));
  }

  /** Freezes the scope; what was frozen before gets the new reason. */
  freeze(freeze: Freeze, alongside?: Alongside): Promise<void> {
    const row = { reason: freeze.reason, frozen_by: freeze.by, frozen_at: freeze.at };
    return this.#change(async (transaction) => {
      await transaction
        .insertInto('freezes')
        .values({ scope: freeze.scope, ...row })
        .onConflict((conflict) => conflict.column('scope').doUpdateSet(row))
        .execute();
    }, alongside);
  }

  /** Lets the calls of the scope go on; does nothing where it is not frozen. */
  thaw(scope: string, alongside?: Alongside): Promise<void> {
    return this.#change(async (transaction) => {
      await transaction.deleteFrom('freezes').where('scope', '=', scope).execute();
    }, alongside);
  }

  /** Takes over what is in the database now. */
  refresh(): Promise<void> {
    return this.#inTurn(() => this.#read());
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#turn;
  }

  #change(work: Alongside, alongside: Alongside | undefined): Promise<void> {
    return this.#inTurn(async () => {
      await this.#store.db.transaction().execute(async (transaction) => {
        await work(transaction);
        await alongside?.(transaction);
      });
      await this.#read();
    });
  }

  async #read(): Promise<void> {
    const rows = await this.#store.db.selectFrom('freezes').selectAll().execute();
    this.#frozen = new Map(
      rows.map(({ scope, reason, frozen_by: by, frozen_at: at }) => [
        scope,
        { scope, reason, by, at: Number(at) },
      ]),
    );
  }

  /** One after another: what is read later is never replaced by what was read before. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const outcome = this.#turn.then(work);
    this.#turn = outcome.catch(() => undefined);
    return outcome;
  }

  async #look(): Promise<void> {
    try {
      await this.refresh();
    } catch (error) {
      this.#logger.warn(
        { error: messageOf(error) },
        'what is frozen could not be read; the last known state counts',
      );
    }
  }
}
