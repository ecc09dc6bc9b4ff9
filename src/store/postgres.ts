import {
  CompiledQuery,
  type DatabaseConnection,
  type DatabaseIntrospector,
  Kysely,
  PostgresAdapter,
  PostgresDialect,
  type PostgresDialectConfig,
  PostgresDriver,
  PostgresIntrospector,
  type PostgresPool,
  sql,
  type TableMetadata,
} from 'kysely';
import { messageOf, Refusal } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { type Append, postgresAppend, tied } from './append.ts';
import { namedFault } from './fault.ts';
import type { Schema } from './schema.ts';

const MAX_CONNECTIONS = 10;
const CONNECT_MS = 5_000;
const STATEMENT_MS = 30_000;
const INT8 = 20;

/** Host and database of the URL, fit for a message: no user, no password. */
export function postgresPlace(databaseUrl: string): string {
  if (!URL.canParse(databaseUrl) || !/^postgres(ql)?:$/.test(new URL(databaseUrl).protocol)) {
    throw new Refusal(
      'invalid',
      'CASTELLAN_DATABASE_URL is no postgres:// URL (postgres://user:password@host:5432/database)',
    );
  }
  const { host, pathname } = new URL(databaseUrl);
  return `PostgreSQL ${host || 'on the local socket'}${pathname}`;
}

/** Connects once, so that a wrong URL is told at start. The driver is loaded only here. */
export async function openPostgres(databaseUrl: string, logger: Logger): Promise<Kysely<Schema>> {
  const place = postgresPlace(databaseUrl);
  const { default: pg } = await import('pg');
  const pool = new pg.Pool({
    connectionString: databaseUrl,
    application_name: 'castellan',
    max: MAX_CONNECTIONS,
    connectionTimeoutMillis: CONNECT_MS,
    statement_timeout: STATEMENT_MS,
    query_timeout: STATEMENT_MS + CONNECT_MS,
    keepAlive: true,
    // 64-bit integers are milliseconds and counters here, all below 2^53.
    types: {
      getTypeParser: (type, format) =>
        type === INT8 ? Number : pg.types.getTypeParser(type, format as 'text'),
    },
  });
  const lost = (error: Error) => logger.warn({ error: messageOf(error) }, 'a database connection was lost');
  pool.on('error', lost);
  // A connection in use reports its loss on itself, not on the pool; without a listener that ends the process.
  pool.on('connect', (client) => client.on('error', () => {}));
  try {
    (await pool.connect()).release();
  } catch (error) {
    await pool.end();
    throw new Refusal(
      'unavailable',
      `${place} cannot be reached: ${messageOf(error)}; check CASTELLAN_DATABASE_URL`,
    );
  }
  return new Kysely<Schema>({
    dialect: new CastellanPostgresDialect({ pool: pool as unknown as PostgresPool }),
  });
}

/** See `Store.append`. */
export async function appendTo(db: Kysely<Schema>, append: Append): Promise<string | undefined> {
  const whole = tied(append);
  const { sql, parameters } = postgresAppend(append, whole);
  const { numAffectedRows } = await db.executeQuery(CompiledQuery.raw(sql, [...parameters]));
  return Number(numAffectedRows) === whole.rows.length ? whole.hash : undefined;
}

class CastellanPostgresDialect extends PostgresDialect {
  readonly #settings: PostgresDialectConfig;

  constructor(settings: PostgresDialectConfig) {
    super(settings);
    this.#settings = settings;
  }

  override createDriver(): PostgresDriver {
    return new FaultNamingDriver(this.#settings);
  }

  override createAdapter(): PostgresAdapter {
    return new SelfLockingAdapter();
  }

  override createIntrospector(db: Kysely<unknown>): DatabaseIntrospector {
    return new OwnSchemaIntrospector(db);
  }
}

/**
 * Knows the tables of the current schema alone, by name. The original inspects every schema of the database, and fails
 * when somebody else drops one of theirs meanwhile.
 */
class OwnSchemaIntrospector extends PostgresIntrospector {
  readonly #db: Kysely<unknown>;

  constructor(db: Kysely<unknown>) {
    super(db);
    this.#db = db;
  }

  override async getTables(): Promise<TableMetadata[]> {
    const { rows } = await sql<{ schema: string; name: string }>`
      select schemaname as schema, tablename as name from pg_catalog.pg_tables where schemaname = current_schema()
    `.execute(this.#db);
    return rows.map((row) => ({ ...row, isView: false, isForeign: false, columns: [] }));
  }
}

/**
 * The migration takes its own lock, in its transaction. The adapter's would be one for all schemas, and giving it back
 * in a transaction that failed would hide why it failed.
 */
class SelfLockingAdapter extends PostgresAdapter {
  override async acquireMigrationLock(): Promise<void> {}
  override async releaseMigrationLock(): Promise<void> {}
}

/** A lost database reaches callers as a Refusal `unavailable`, whichever statement met it. */
class FaultNamingDriver extends PostgresDriver {
  readonly #known = new WeakSet<DatabaseConnection>();

  override async acquireConnection(): Promise<DatabaseConnection> {
    try {
      const connection = await super.acquireConnection();
      if (!this.#known.has(connection)) this.#nameFaults(connection);
      return connection;
    } catch (error) {
      throw namedFault(error);
    }
  }

  #nameFaults(connection: DatabaseConnection): void {
    this.#known.add(connection);
    const execute = connection.executeQuery.bind(connection);
    connection.executeQuery = async <Row>(...query: Parameters<typeof execute>) => {
      try {
        return await execute<Row>(...query);
      } catch (error) {
        throw namedFault(error);
      }
    };
  }
}
