import { type Kysely, sql } from 'kysely';

type Token = { hash: string; bindings: string };
type User = { id: string; email: string; name: string; created_at: number };

/** What `admin` stands for where a token holds it: everything in it that a token may have. */
const TOKEN_ROLES = ['create', 'edit', 'delete', 'run', 'use', 'handle'];
const ACTIONS = ['logs', 'impersonate', 'escalate', 'bind', 'spawn', 'introspect', 'backup', 'freeze'];

/** Users and the bindings of tokens become objects; a token knows the token that made it. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const now = Date.now();
  const { rows: users } = await sql<User>`select id, email, name, created_at from users`.execute(db);
  for (const { id, email, name, created_at } of users) {
    await insertObject(db, 'User', email, id, { displayName: name }, created_at);
  }
  const everything = [{ role: 'admin', resource: '*' }, ...ACTIONS.map((action) => ({ action }))];
  const admin = [{ kind: 'User', name: 'admin' }];
  const spec = { subjects: admin, roleBindings: everything };
  await insertObject(db, 'Rbac', 'administrators', 'rbc_administrators', spec, now);

  const { rows: tokens } = await sql<Token>`select hash, bindings from mcp_tokens`.execute(db);
  for (const { hash, bindings } of tokens) {
    const subjects = [{ kind: 'McpToken', name: hash }];
    const roleBindings = (JSON.parse(bindings) as { role?: string }[]).flatMap((binding) =>
      binding.role === 'admin' ? TOKEN_ROLES.map((role) => ({ ...binding, role })) : [binding],
    );
    const name = `mcptoken-${hash.slice(0, 24)}`;
    await insertObject(db, 'Rbac', name, `rbc_${hash.slice(0, 22)}`, { subjects, roleBindings }, now);
  }
  await rebuildTokens(db);
  await db.schema.dropTable('users').execute();
}

async function insertObject(
  db: Kysely<unknown>,
  kind: string,
  name: string,
  uid: string,
  spec: object,
  createdAt: number,
): Promise<void> {
  await sql`insert into resources (kind, name, uid, spec, resource_version, created_at, updated_at)
    values (${kind}, ${name}, ${uid}, ${JSON.stringify(spec)}, 1, ${createdAt}, ${createdAt})`.execute(db);
}

/** SQLite cannot drop a reference to another table: the rows move to a new one. */
async function rebuildTokens(db: Kysely<unknown>): Promise<void> {
  await sql`alter table mcp_tokens rename to mcp_tokens_before`.execute(db);
  for (const index of ['mcp_tokens_name', 'mcp_tokens_project', 'mcp_tokens_owner']) {
    await db.schema.dropIndex(index).execute();
  }
  await db.schema
    .createTable('mcp_tokens')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('hash', 'text', (column) => column.notNull().unique())
    .addColumn('prefix', 'text', (column) => column.notNull())
    .addColumn('name', 'text', (column) => column.notNull())
    .addColumn('project_name', 'text', (column) => column.notNull())
    .addColumn('project_uid', 'text', (column) => column.notNull())
    .addColumn('owner_id', 'text', (column) => column.notNull())
    .addColumn('parent_id', 'text')
    .addColumn('surfaces', 'text', (column) => column.notNull())
    .addColumn('rbac', 'text', (column) => column.notNull())
    .addColumn('description', 'text', (column) => column.notNull().defaultTo(''))
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint')
    .addColumn('revoked_at', 'bigint')
    .addColumn('released_at', 'bigint')
    .addColumn('last_used_at', 'bigint')
    .execute();
  const kept = sql`id, hash, prefix, name, project_name, project_uid, owner_id, surfaces, rbac, description,
    created_at, expires_at, revoked_at, released_at, last_used_at`;
  await sql`insert into mcp_tokens (${kept}) select ${kept} from mcp_tokens_before`.execute(db);
  await db.schema.dropTable('mcp_tokens_before').execute();
  await db.schema
    .createIndex('mcp_tokens_name')
    .unique()
    .on('mcp_tokens')
    .columns(['project_uid', 'name'])
    .where(sql.ref('released_at'), 'is', null)
    .execute();
  await db.schema
    .createIndex('mcp_tokens_project')
    .on('mcp_tokens')
    .columns(['project_name', 'name'])
    .execute();
  await db.schema.createIndex('mcp_tokens_owner').on('mcp_tokens').column('owner_id').execute();
  await db.schema.createIndex('mcp_tokens_parent').on('mcp_tokens').column('parent_id').execute();
}
