import { messageOf, Refusal } from '../base/errors.ts';

/** SQLite primary result codes that mean "not now", not "wrong statement". */
const SQLITE_REASONS: ReadonlyMap<number, string> = new Map([
  [5, 'another program holds the file (locked)'],
  [6, 'a table is locked'],
  [8, 'the file or its file system is read-only'],
  [10, 'the disk reported an I/O error (is it full?)'],
  [11, 'the file is damaged'],
  [13, 'the disk is full'],
  [14, 'the file cannot be opened'],
  [26, 'the file is not a database'],
]);

/** PostgreSQL classes: connection (08), resources (53), operator intervention (57), system error (58), read-only. */
const POSTGRES_UNAVAILABLE = /^(08|53|57P0|58)|^25006$|^55P03$|^57014$/;
const NETWORK = /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|ENOTFOUND|EAI_AGAIN)/;
const POSTGRES_GONE =
  /Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Query read timeout/i;

/**
 * Turns a driver's error that means "the database cannot serve now" into a Refusal `unavailable`; any other error
 * comes back as it is, a broken invariant for whoever made the statement.
 */
export function namedFault(error: unknown): unknown {
  if (error instanceof Refusal || !(error instanceof Error)) return error;
  const { errcode, code } = error as { errcode?: unknown; code?: unknown };
  if (typeof errcode === 'number') {
    const reason = SQLITE_REASONS.get(errcode & 0xff);
    return reason ? unavailable(reason, error) : error;
  }
  const text = String(code ?? '');
  if (POSTGRES_UNAVAILABLE.test(text) || NETWORK.test(text) || POSTGRES_GONE.test(error.message)) {
    return unavailable('PostgreSQL does not answer', error);
  }
  return error;
}

/** True for a statement that a unique index refused, on either database. */
export function isUniqueViolation(error: unknown): boolean {
  const { errcode, code } = (error ?? {}) as { errcode?: unknown; code?: unknown };
  return code === '23505' || errcode === 2067 || errcode === 1555;
}

function unavailable(reason: string, error: Error): Refusal {
  return new Refusal('unavailable', `the database is not available: ${reason}; try again`, messageOf(error));
}
