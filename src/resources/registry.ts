import type { Audit } from '../audit/audit.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { Refusal } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import { ok, type Result, refused } from '../base/result.ts';
import type { Store } from '../store/database.ts';
import { NO_ACCESS } from './access-model.ts';
import { bundledValue } from './bundled.ts';
import { checkedPut } from './checked-put.ts';
import { ConfigurationPoll } from './configuration-poll.ts';
import type { FileObject } from './documents.ts';
import { type Environment, expandText } from './expansion.ts';
import { fileObject, type KnownObject, type ResourceKind, storedObject } from './known-objects.ts';
import { type ChangeCheck, type ExpectedVersion, LayerEdit, type PutAction } from './layer-edit.ts';
import { type FileLayer, type FileToken, NO_FILES, type OtherLayer, readFileLayer } from './layers.ts';
import { ObjectFeed } from './object-feed.ts';
import type { ResourceObject } from './objects.ts';
import { describeProblem, describeProblems } from './problems.ts';
import { NOTHING_STORED, objectKey, ResourceRows, type StoredLayer } from './resource-rows.ts';
import { secretValue } from './secret-lookup.ts';
import { SecretValues } from './secret-values.ts';
import { buildSnapshot, NO_POLICIES, resolveSpec, type Surroundings } from './snapshot.ts';
import type { Snapshot } from './spec.ts';

export type ResourcesOptions = {
  store: Pick<Store, 'db' | 'dialect' | 'keys'>;
  audit: Pick<Audit, 'append'>;
  /** In order: a later file's object replaces an earlier one's of the same kind and name. */
  files: readonly string[];
  env: Environment;
  logger: Logger;
  /** Absolute; servers' own folders (`${castellan:folder:NAME}`) lie below it. */
  dataDir: string;
  /** What `${castellan:node}` stands for. */
  nodePath: string;
};

/** Parts that a change leaves alone (`servers`, `projects`, `access`, `policies`, `repositories`) are the same in both. */
export type ChangeListener = (now: Snapshot, before: Snapshot) => void;

/** How a change is made. */
export type ChangeOptions = {
  /** Everything is checked and nothing written. */
  dryRun?: boolean;
  /** The version that has to be there, beside the one that the object itself names. */
  expected?: ExpectedVersion | undefined;
  /** May refuse the change; sees it as it will happen, no other change coming between. */
  check?: ChangeCheck;
  /** Runs in the transaction of the change, when there is one. */
  alongside?: (edit: LayerEdit) => Promise<void>;
};

/**
 * All objects but tokens. Objects of files live in memory and belong to their file; objects from the API live in
 * the database. Where both have a name, the file's object counts and the other waits.
 *
 * Changes happen one after another: each reads or writes its layer, then `#rebuild` derives the objects and the
 * snapshot from both layers and tells the listeners, if anything is different.
 */
export class Resources {
  readonly #options: ResourcesOptions;
  readonly #rows: ResourceRows;
  readonly #surroundings: Surroundings;
  readonly #listeners = new Set<ChangeListener>();
  /** Every change of an object, also those that leave the snapshot as it is. */
  readonly feed = new ObjectFeed();
  #files: FileLayer = NO_FILES;
  #stored: StoredLayer = NOTHING_STORED;
  #objects: ReadonlyMap<string, KnownObject> = new Map();
  #snapshot: Snapshot = {
    generation: 0,
    servers: new Map(),
    projects: new Map(),
    access: NO_ACCESS,
    policies: NO_POLICIES,
    repositories: new Map(),
  };
  #turn: Promise<unknown> = Promise.resolve();
  /** Where other processes may change what is stored. */
  #poll: ConfigurationPoll | undefined;

  private constructor(options: ResourcesOptions) {
    this.#options = options;
    const { keys, db } = options.store;
    this.#rows = new ResourceRows(db, new SecretValues(keys), options.audit);
    this.#surroundings = {
      env: options.env,
      builtin: (key) => bundledValue(key, options),
      secret: (name, key) => secretValue(name, key, this.#files, this.#stored, options.env),
      digest: (text) => keys.mac('server', text),
    };
  }

  /** @throws Refusal `invalid` when a file is broken: every problem with file, line, field and fix */
  static async open(options: ResourcesOptions): Promise<Resources> {
    const resources = new Resources(options);
    await resources.#rows.prepare();
    resources.#stored = await resources.#rows.read(NOTHING_STORED);
    const read = await readFileLayer(options.files, resources.#storedNames());
    if (!read.ok) throw new Refusal('invalid', describeProblems(read.error));
    resources.#files = read.value;
    resources.#tellNotices();
    resources.#rebuild();
    if (options.store.dialect === 'postgres')
      resources.#poll = new ConfigurationPoll(() => resources.refresh(), options.logger);
    return resources;
  }

  snapshot(): Snapshot {
    return this.#snapshot;
  }

  /** Whether the snapshot is at most five seconds behind; else nobody is to be let in before `current`. */
  get isCurrent(): boolean {
    return this.#poll?.isCurrent ?? true;
  }

  /** @throws Refusal `unavailable` when what other processes changed cannot be read */
  async current(): Promise<void> {
    await this.#poll?.current();
  }

  /** Calls `listener` after every change of the snapshot; the answer ends that. */
  onChange(listener: ChangeListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Sorted by name. */
  list(kind: ResourceKind): ResourceObject[] {
    return [...this.#objects.values()].filter((known) => known.kind === kind).map((known) => known.object);
  }

  /** By name or by uid. */
  get(kind: ResourceKind, nameOrUid: string): ResourceObject | undefined {
    return this.#find(kind, nameOrUid)?.object;
  }

  /** The McpTokens that files ask for. */
  fileTokens(): readonly FileToken[] {
    return this.#files.tokens;
  }

  /** A server's spec with variables replaced (never secrets); what could not be replaced stays and is an error. */
  resolved(nameOrUid: string): { spec: unknown; error: string | undefined } | undefined {
    const known = this.#find('Server', nameOrUid);
    if (!known) return undefined;
    const secret = (name: string, key: string, raw: string) => {
      const found = this.#surroundings.secret(name, key);
      return 'error' in found ? found : { value: raw };
    };
    const { spec, problems } = resolveSpec(known, { ...this.#surroundings, secret });
    return { spec, error: problems.length > 0 ? problems.map(describeProblem).join('; ') : undefined };
  }

  /** A text with its secrets filled in; nothing but them stands for something in it. The error names no value. */
  withSecrets(text: string): Result<string, string> {
    const builtin = () => ({ error: 'only secrets stand for something here' });
    const { secret } = this.#surroundings;
    const filled = expandText(text, { env: undefined, builtin, secret });
    return filled.errors[0] === undefined ? ok(filled.text) : refused(filled.errors[0]);
  }

  /**
   * Creates or replaces an object; `body` is the object as JSON.
   * @throws Refusal `invalid` naming the field, or `conflict` when the object belongs to a file
   */
  async put(
    body: unknown,
    options: ChangeOptions = {},
  ): Promise<{ action: PutAction; object: ResourceObject }> {
    // Nothing is made for a wish that may yet be refused.
    const wanted = checkedPut(body, (key) => bundledValue(key, { ...this.#options, makesFolders: false }));
    const { check, expected = wanted.expected } = options;
    const change = { ...wanted, ...(expected && { expected }) };
    const { action, stored } = await this.edit((edit) => edit.put(change, check), options);
    return { action, object: storedObject(stored).object };
  }

  /**
   * Removes an object that the API made, and answers what it was.
   * @throws Refusal `not_found`, or `conflict` when it belongs to a file or something still names it
   */
  async remove(kind: ResourceKind, nameOrUid: string, options: ChangeOptions = {}): Promise<ResourceObject> {
    const name = this.#find(kind, nameOrUid)?.name ?? nameOrUid;
    const removed = await this.edit((edit) => edit.remove(kind, name, options), options);
    return storedObject(removed).object;
  }

  /** Makes changes that belong together, all or none, alone among the writers of every process. */
  async edit<T>(
    work: (edit: LayerEdit) => Promise<T>,
    { dryRun = false, alongside }: Pick<ChangeOptions, 'dryRun' | 'alongside'> = {},
  ): Promise<T> {
    return this.#inTurn(async () => {
      if (dryRun) return work(new LayerEdit(await this.#rows.read(this.#stored), this.#files, undefined));
      const { outcome, layer } = await this.#rows.change(this.#stored, async (before, write) => {
        const edit = new LayerEdit(before, this.#files, write);
        const result = await work(edit);
        await alongside?.(edit);
        return { outcome: result, layer: edit.layer };
      });
      this.#adopt(layer);
      return outcome;
    });
  }

  /** Reads the files again. A broken file changes nothing, and `message` says what is wrong with it. */
  async reload(): Promise<{ ok: boolean; message: string }> {
    return this.#inTurn(async () => {
      const read = await readFileLayer(this.#options.files, this.#storedNames());
      if (!read.ok) {
        const message = `kept the last good configuration: ${describeProblems(read.error)}`;
        this.#options.logger.error({ problems: read.error.length }, message);
        return { ok: false, message };
      }
      this.#files = read.value;
      this.#tellNotices();
      this.#rebuild();
      const declared = [...this.#files.objects.values()];
      const ofKind = (kind: ResourceKind) => declared.filter((object) => object.kind === kind).length;
      const count = this.#options.files.length;
      const message = `read ${count} ${count === 1 ? 'file' : 'files'}: ${ofKind('Server')} servers, ${ofKind('Project')} projects`;
      this.#options.logger.info(message);
      return { ok: true, message };
    });
  }

  /** Takes over what another process on the same database changed. */
  async refresh(): Promise<void> {
    await this.#inTurn(async () => {
      if ((await this.#rows.revision()) !== this.#stored.revision)
        this.#adopt(await this.#rows.read(this.#stored));
    });
  }

  async close(): Promise<void> {
    this.#poll?.close();
    this.#listeners.clear();
    await this.#turn;
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const outcome = this.#turn.then(work);
    this.#turn = outcome.catch(() => undefined);
    return outcome;
  }

  #storedNames(): OtherLayer {
    return (kind, name) => this.#stored.objects.get(objectKey(kind, name));
  }

  #find(kind: ResourceKind, nameOrUid: string): KnownObject | undefined {
    const named = this.#objects.get(objectKey(kind, nameOrUid));
    if (named) return named;
    return [...this.#objects.values()].find((known) => known.kind === kind && known.uid === nameOrUid);
  }

  #adopt(layer: StoredLayer): void {
    this.#stored = layer;
    this.#rebuild();
  }

  #rebuild(): void {
    const objects = new Map<string, KnownObject>();
    for (const stored of this.#stored.objects.values()) {
      if (stored.kind !== 'McpToken') objects.set(objectKey(stored.kind, stored.name), storedObject(stored));
    }
    for (const declared of this.#files.objects.values()) {
      const key = objectKey(declared.kind, declared.name);
      const version = this.#fileVersion(declared);
      objects.set(key, fileObject(declared, version, this.#objects.get(key), Date.now()));
    }
    const known = this.#objects;
    const before = this.#snapshot;
    const built = buildSnapshot(objects.values(), before.generation + 1, this.#surroundings);
    this.#objects = new Map([...objects].sort(([a], [b]) => (a < b ? -1 : 1)));
    const now = sharingWith(before, built);
    if (PARTS.some((part) => now[part] !== before[part])) this.#publish(now, before);
    this.feed.note(known, this.#objects);
  }

  #publish(now: Snapshot, before: Snapshot): void {
    this.#snapshot = now;
    this.#tellUnreadable(now, before);
    for (const listener of this.#listeners) {
      try {
        listener(now, before);
      } catch (error) {
        this.#options.logger.error({ error }, 'a listener of configuration changes failed');
      }
    }
  }

  #tellUnreadable(now: Snapshot, before: Snapshot): void {
    for (const { name, error, fingerprint } of now.policies.entries.values()) {
      if (error === undefined || before.policies.entries.get(name)?.fingerprint === fingerprint) continue;
      this.#options.logger.error(
        `policy ${name} cannot be read and denies everything it would cover: ${error}`,
      );
    }
  }

  /** Keyed, for the values of a secret count too. */
  #fileVersion({ kind, name, spec, labels }: FileObject): string {
    const values = kind === 'Secret' ? this.#files.secrets.get(name) : null;
    return this.#options.store.keys
      .mac('file-object', canonicalJson([kind, name, spec, labels ?? null, values ?? null]))
      .slice(0, 16);
  }

  #tellNotices(): void {
    const { logger } = this.#options;
    for (const notice of this.#files.notices) logger.info(describeProblem(notice));
    for (const declared of this.#files.objects.values()) {
      if (!this.#stored.objects.has(objectKey(declared.kind, declared.name))) continue;
      const what = `${declared.kind.toLowerCase()}/${declared.name}`;
      logger.warn(`${what} of ${declared.file}:${declared.line} stands in for the one applied over the API`);
    }
  }
}

const PARTS = ['servers', 'projects', 'access', 'policies', 'repositories'] as const;

/** The new picture, with the parts of the one before that say the same. */
function sharingWith(before: Snapshot, now: Snapshot): Snapshot {
  const servers = ({ servers }: Snapshot) =>
    [...servers.values()].map(({ name, uid, fingerprint }) => [name, uid, fingerprint]);
  const policies = ({ policies: { entries } }: Snapshot) => [...entries.values()];
  const access = ({ access: { users, groups, rbacs } }: Snapshot) => [
    [...users.values()],
    [...groups],
    [...rbacs.values()],
  ];
  const same = (part: (one: Snapshot) => unknown) => canonicalJson(part(before)) === canonicalJson(part(now));
  return {
    ...now,
    servers: same(servers) ? before.servers : now.servers,
    projects: same(({ projects }) => [...projects.values()]) ? before.projects : now.projects,
    access: same(access) ? before.access : now.access,
    policies: same(policies) ? before.policies : now.policies,
    repositories: same(({ repositories }) => [...repositories.values()])
      ? before.repositories
      : now.repositories,
  };
}
