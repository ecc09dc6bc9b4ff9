import type { Kysely, Selectable, Transaction } from 'kysely';
import type { Audit } from '../audit/audit.ts';
import type { AuditChange, AuditEventName } from '../audit/event.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { newId } from '../base/ids.ts';
import type { ResourcesTable, Schema } from '../store/schema.ts';
import type { KindName } from './kinds.ts';
import { type Labels, NO_LABELS } from './labels.ts';
import type { OpenedSecret, SecretValues } from './secret-values.ts';

/** An object made over the API, as its row has it. */
export type StoredObject = {
  kind: KindName;
  name: string;
  uid: string;
  /** Undefined when the row's text is no JSON object; the object is then broken, and stays listed. */
  spec: Record<string, unknown> | undefined;
  labels: Labels;
  /** Of the whole layer when this object last changed: no version stands for two states. */
  version: number;
  /** Milliseconds since 1970. */
  createdAt: number;
  updatedAt: number;
};

export type StoredLayer = {
  /** Grows with every change that any process makes. */
  revision: number;
  objects: ReadonlyMap<string, StoredObject>;
  /** By uid. */
  secrets: ReadonlyMap<string, OpenedSecret>;
};

export const NOTHING_STORED: StoredLayer = { revision: -1, objects: new Map(), secrets: new Map() };

/**
 * One row that is no object carries the revision. Every writer raises it first, and so waits for the writer before
 * it: what a transaction then checks cannot change until it commits.
 */
const REVISION_ROW = { kind: 'Revision', name: '' } as const;

export const UID_PREFIX = {
  Policy: 'pol',
  Secret: 'sec',
  Server: 'srv',
  Project: 'prj',
  Group: 'grp',
  User: 'usr',
  Rbac: 'rbc',
  McpToken: 'mct',
  OAuthClient: 'oac',
  Repository: 'rep',
} as const satisfies Record<KindName, string>;

export const objectKey = (kind: KindName, name: string): string => `${kind}/${name}`;

export class ResourceRows {
  readonly #db: Kysely<Schema>;
  readonly #values: SecretValues;
  readonly #audit: Pick<Audit, 'append'>;

  constructor(db: Kysely<Schema>, values: SecretValues, audit: Pick<Audit, 'append'>) {
    this.#db = db;
    this.#values = values;
    this.#audit = audit;
  }

  /** Makes the revision row, once per database. */
  async prepare(): Promise<void> {
    await this.#db
      .insertInto('resources')
      .values({
        ...REVISION_ROW,
        uid: 'rev_resources',
        spec: '{}',
        resource_version: 0,
        created_at: 0,
        updated_at: 0,
      })
      .onConflict((conflict) => conflict.columns(['kind', 'name']).doNothing())
      .execute();
  }

  async revision(): Promise<number> {
    const row = await this.#db
      .selectFrom('resources')
      .select('resource_version')
      .where('kind', '=', REVISION_ROW.kind)
      .where('name', '=', REVISION_ROW.name)
      .executeTakeFirst();
    return Number(row?.resource_version ?? 0);
  }

  /** `before` is what was read last: values of secrets that have not changed since are taken from there. */
  async read(before: StoredLayer): Promise<StoredLayer> {
    return this.#withSecrets(this.#db, await readObjects(this.#db), before);
  }

  /** Runs `work` alone among all writers; it sees what the last of them left. The audit tells of it, or it is undone. */
  async change<T>(
    before: StoredLayer,
    work: (layer: StoredLayer, write: RowWriter) => Promise<{ outcome: T; layer: StoredLayer }>,
  ): Promise<{ outcome: T; layer: StoredLayer }> {
    return this.#db.transaction().execute(async (transaction) => {
      await transaction
        .updateTable('resources')
        .set((row) => ({ resource_version: row('resource_version', '+', 1) }))
        .where('kind', '=', REVISION_ROW.kind)
        .where('name', '=', REVISION_ROW.name)
        .execute();
      const read = await this.#withSecrets(transaction, await readObjects(transaction), before);
      const write = new RowWriter(transaction, this.#values, read.revision);
      const { outcome, layer } = await work(read, write);
      const done = { outcome, layer: await this.#withSecrets(transaction, layer, read) };
      await this.#audit.append(transaction, ...write.told);
      return done;
    });
  }

  async #withSecrets(
    db: Kysely<Schema>,
    layer: Omit<StoredLayer, 'secrets'>,
    { secrets }: StoredLayer,
  ): Promise<StoredLayer> {
    return { ...layer, secrets: await this.#values.load(db, layer.objects.values(), secrets) };
  }
}

/** What a change of an object changes. */
export type RowContent = { spec: Record<string, unknown>; labels: Labels };

export class RowWriter {
  /** For what has to be written together with the objects. */
  readonly transaction: Transaction<Schema>;
  /** What the audit will tell of all this. */
  readonly told: AuditChange[] = [];
  readonly #values: SecretValues;
  /** Of the layer once this change is made. */
  readonly #revision: number;

  constructor(transaction: Transaction<Schema>, values: SecretValues, revision: number) {
    this.transaction = transaction;
    this.#values = values;
    this.#revision = revision;
  }

  /** Leaves a secret with these values and with what it had under the other `names`. */
  async putValues(
    { uid }: StoredObject,
    names: readonly string[],
    values: Readonly<Record<string, string>>,
  ): Promise<void> {
    await this.#values.put(this.transaction, uid, names, values);
  }

  async insert(
    kind: KindName,
    name: string,
    { spec, labels }: RowContent,
    now: number,
  ): Promise<StoredObject> {
    const object = {
      kind,
      name,
      uid: newId(UID_PREFIX[kind]),
      spec,
      labels,
      version: this.#revision,
      createdAt: now,
      updatedAt: now,
    };
    await this.transaction
      .insertInto('resources')
      .values({
        kind,
        name,
        uid: object.uid,
        spec: JSON.stringify(spec),
        labels: JSON.stringify(labels),
        resource_version: object.version,
        created_at: now,
        updated_at: now,
      })
      .execute();
    this.told.push(changeOf('resource.created', object, { fields: Object.keys(spec) }));
    return object;
  }

  /** `more` names what changes beside spec and labels. */
  async update(
    existing: StoredObject,
    { spec, labels }: RowContent,
    now: number,
    more: readonly string[] = [],
  ): Promise<StoredObject> {
    const object = { ...existing, spec, labels, version: this.#revision, updatedAt: now };
    await this.transaction
      .updateTable('resources')
      .set({
        spec: JSON.stringify(spec),
        labels: JSON.stringify(labels),
        resource_version: object.version,
        updated_at: now,
      })
      .where('uid', '=', existing.uid)
      .execute();
    const fields = [...changedFields(existing.spec ?? {}, spec), ...more];
    if (canonicalJson(existing.labels) !== canonicalJson(labels)) fields.push('labels');
    this.told.push(changeOf('resource.changed', object, { fields }));
    return object;
  }

  async remove(existing: StoredObject): Promise<void> {
    await this.transaction.deleteFrom('resources').where('uid', '=', existing.uid).execute();
    if (existing.kind === 'Secret') await this.#values.remove(this.transaction, existing.uid);
    this.told.push(changeOf('resource.deleted', existing, {}));
  }
}

/** Values of a spec may be secrets; which fields were touched is none. */
function changeOf(event: AuditEventName, object: StoredObject, more: { fields?: string[] }): AuditChange {
  const { kind, name, uid, version } = object;
  const detail = { uid, version, ...more };
  return { event, outcome: 'ok', target: `${kind}/${name}`, detail, ...(PLACES[kind]?.(name) ?? {}) };
}

const PLACES: Partial<Record<KindName, (name: string) => Partial<AuditChange>>> = {
  Server: (server) => ({ server }),
  Project: (project) => ({ project }),
};

function changedFields(before: Record<string, unknown>, after: Record<string, unknown>): string[] {
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  const text = (value: unknown) => (value === undefined ? '' : canonicalJson(value));
  return [...names].filter((name) => text(before[name]) !== text(after[name]));
}

async function readObjects(db: Kysely<Schema>): Promise<Omit<StoredLayer, 'secrets'>> {
  const rows = await db.selectFrom('resources').selectAll().orderBy('kind').orderBy('name').execute();
  const objects = new Map<string, StoredObject>();
  let revision = 0;
  for (const row of rows) {
    if (row.kind === REVISION_ROW.kind) revision = Number(row.resource_version);
    else objects.set(`${row.kind}/${row.name}`, storedObject(row));
  }
  return { revision, objects };
}

function storedObject(row: Selectable<ResourcesTable>): StoredObject {
  return {
    kind: row.kind as KindName,
    name: row.name,
    uid: row.uid,
    spec: objectOf(row.spec),
    labels: (objectOf(row.labels) as Labels | undefined) ?? NO_LABELS,
    version: Number(row.resource_version),
    createdAt: Number(row.created_at),
    updatedAt: Number(row.updated_at),
  };
}

function objectOf(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
