import { type Kysely, sql, type Transaction } from 'kysely';
import { type Migration, Migrator } from 'kysely/migration';
import { messageOf, Refusal } from '../base/errors.ts';
import * as firstLight from './migrations/0001-first-light.ts';
import * as audit from './migrations/0002-audit.ts';
import * as rights from './migrations/0003-rights.ts';
import * as freezes from './migrations/0004-freezes.ts';
import * as secrets from './migrations/0005-secrets.ts';
import * as sessionHolder from './migrations/0006-session-holder.ts';
import * as labels from './migrations/0007-labels.ts';
import * as oauth from './migrations/0008-oauth.ts';
import * as people from './migrations/0009-people.ts';
import * as oauthClients from './migrations/0010-oauth-clients.ts';
import * as tokenCeilings from './migrations/0011-token-ceilings.ts';
import * as approvals from './migrations/0012-approvals.ts';
import * as tickets from './migrations/0013-tickets.ts';
import * as upstreamCredentials from './migrations/0014-upstream-credentials.ts';
import * as approvalNotices from './migrations/0015-approval-notices.ts';
import * as toolPins from './migrations/0016-tool-pins.ts';
import * as userGrants from './migrations/0017-user-grants.ts';
import * as vendorScopes from './migrations/0018-vendor-scopes.ts';
import * as begunSessions from './migrations/0019-begun-sessions.ts';
import type { Schema } from './schema.ts';

/** In order of their names, which sort as text; a name that was released never changes. */
const MIGRATIONS: Readonly<Record<string, Migration>> = {
  '0001-first-light': firstLight,
  '0002-audit': audit,
  '0003-rights': rights,
  '0004-freezes': freezes,
  '0005-secrets': secrets,
  '0006-session-holder': sessionHolder,
  '0007-labels': labels,
  '0008-oauth': oauth,
  '0009-people': people,
  '0010-oauth-clients': oauthClients,
  '0011-token-ceilings': tokenCeilings,
  '0012-approvals': approvals,
  '0013-tickets': tickets,
  '0014-upstream-credentials': upstreamCredentials,
  '0015-approval-notices': approvalNotices,
  '0016-tool-pins': toolPins,
  '0017-user-grants': userGrants,
  '0018-vendor-scopes': vendorScopes,
  '0019-begun-sessions': begunSessions,
};

const APPLIED = 'castellan_migration';
const LOCK = 'castellan_migration_lock';
const OUR_TABLES = ['meta', 'users', 'mcp_tokens', 'resources', 'sessions'];

export type Dialect = 'sqlite' | 'postgres';

/** The version that this build brings a database to. */
export const SCHEMA_VERSION = Object.keys(MIGRATIONS).length;

/**
 * Brings the database to this build's version, all steps in one transaction that holds the migration lock: another
 * process waits and then finds nothing to do, a kill leaves the version before.
 * @throws Refusal when a newer Castellan or another program made the tables, or another migration does not end
 */
export async function migrate(db: Kysely<Schema>, dialect: Dialect, place: string): Promise<void> {
  try {
    await db.transaction().execute(async (transaction) => {
      await takeLock(transaction, dialect);
      const schema = dialect === 'postgres' ? await currentSchema(transaction, place) : undefined;
      await refuseUnknownTables(transaction, schema, place);
      const migrator = new Migrator({
        db: transaction,
        provider: { getMigrations: async () => ({ ...MIGRATIONS }) },
        migrationTableName: APPLIED,
        migrationLockTableName: LOCK,
        migrationTableSchema: schema,
      });
      const { error } = await migrator.migrateToLatest();
      if (error) throw error;
      if (dialect === 'sqlite')
        await sql`pragma user_version = ${sql.lit(SCHEMA_VERSION)}`.execute(transaction);
    });
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal('unavailable', `${place} could not be brought up to date: ${messageOf(error)}`);
  }
}

/** SQLite needs none: its transactions here begin as the only writer. */
async function takeLock(transaction: Transaction<Schema>, dialect: Dialect): Promise<void> {
  if (dialect !== 'postgres') return;
  await sql`select set_config('lock_timeout', '60s', true)`.execute(transaction);
  await sql`select pg_advisory_xact_lock(hashtext('castellan migrations'), hashtext(current_schema()))`.execute(
    transaction,
  );
}

async function currentSchema(transaction: Transaction<Schema>, place: string): Promise<string> {
  const { rows } = await sql<{ name: string | null }>`select current_schema() as name`.execute(transaction);
  const name = rows[0]?.name;
  if (!name) {
    throw new Refusal('invalid', `${place}: the schema of the search_path does not exist; create it first`);
  }
  return name;
}

async function refuseUnknownTables(
  transaction: Transaction<Schema>,
  schema: string | undefined,
  place: string,
): Promise<void> {
  const tables = await transaction.introspection.getTables({ withInternalKyselyTables: true });
  const names = tables.filter((table) => !schema || table.schema === schema).map((table) => table.name);
  if (!names.includes(APPLIED)) {
    const foreign = names.filter((name) => OUR_TABLES.includes(name));
    if (foreign.length === 0) return;
    throw new Refusal(
      'invalid',
      `${place} holds tables of another program (${foreign.join(', ')}); give Castellan a database or schema of its own`,
    );
  }
  const { rows } = await sql<{ name: string }>`select name from ${sql.table(APPLIED)}`.execute(transaction);
  const unknown = rows.map((row) => row.name).filter((name) => !Object.hasOwn(MIGRATIONS, name));
  if (unknown.length > 0) {
    throw new Refusal(
      'invalid',
      `${place} was written by a newer Castellan (it has ${unknown.sort().join(', ')}); start that version, or restore a backup made by this one`,
    );
  }
}
