import type { Transaction } from 'kysely';
import type { AuditChange } from '../audit/event.ts';
import { canonicalJson } from '../base/canonical-json.ts';
import { Refusal } from '../base/errors.ts';
import type { Schema } from '../store/schema.ts';
import { unknownGroups } from './access-fields.ts';
import { buildAccess } from './access-model.ts';
import { unknownClientNames } from './client-fields.ts';
import { fileUid, type ResourceKind } from './known-objects.ts';
import { type Labels, NO_LABELS } from './labels.ts';
import { type FileLayer, projectsWith } from './layers.ts';
import { printable } from './names.ts';
import { describeProblems, type Problem } from './problems.ts';
import { misnamedServers } from './project-fields.ts';
import { objectKey, type RowWriter, type StoredLayer, type StoredObject } from './resource-rows.ts';
import { changedSecret, secretKeys } from './secret-fields.ts';
import { locateField } from './snapshot.ts';
import type { Access, Subject } from './spec.ts';

export type PutAction = 'created' | 'configured' | 'unchanged';

/** An object that somebody wants to put, checked alone. */
export type PutObject = {
  kind: ResourceKind;
  name: string;
  spec: Record<string, unknown>;
  /** Of a Secret alone, by key; they stay apart from the spec, which everybody may see. */
  values?: Readonly<Record<string, string>> | undefined;
  /** Absent: none. */
  labels?: Labels;
  /** The version that has to be there; absent: whatever there is. */
  expected?: ExpectedVersion;
};

/** A resourceVersion as it was answered; `none` for an object that must not exist. */
export type ExpectedVersion = { version: string } | 'none';

type RemoveOptions = { check?: ChangeCheck | undefined; expected?: ExpectedVersion | undefined };

/** A refusal because somebody else changed the object meanwhile. */
export class VersionConflict extends Refusal {
  constructor(message: string) {
    super('conflict', message);
    this.name = 'VersionConflict';
  }
}

/** What is about to happen to one object; nothing is written yet, and no other change can come between. */
export type PlannedChange = {
  kind: ResourceKind;
  name: string;
  /** As stored; undefined when it is new. */
  existing: StoredObject | undefined;
  /** The spec that it gets; undefined when it goes. */
  wanted: Record<string, unknown> | undefined;
  before(): Access;
  after(): Access;
};

/** Throws a Refusal to keep a change from happening. */
export type ChangeCheck = (change: PlannedChange) => void;

const MAX_OBJECTS = 10_000;

/** Changes to the stored layer that happen together; without `write` they are only tried out. */
export class LayerEdit {
  layer: StoredLayer;
  readonly #files: FileLayer;
  readonly #write: RowWriter | undefined;

  constructor(layer: StoredLayer, files: FileLayer, write: RowWriter | undefined) {
    this.layer = layer;
    this.#files = files;
    this.#write = write;
  }

  /** Of the change as a whole; undefined in a trial. */
  get transaction(): Transaction<Schema> | undefined {
    return this.#write?.transaction;
  }

  /** Has the audit tell of something that changes along with the objects. */
  tell(change: AuditChange): void {
    this.#write?.told.push(change);
  }

  /** Users, groups and rights as they are after the changes so far. */
  access(): Access {
    return accessOf(this.layer, this.#files);
  }

  /** Whether the stored layer has the object. */
  has(kind: ResourceKind, name: string): boolean {
    return this.layer.objects.has(objectKey(kind, name));
  }

  /** @throws Refusal `invalid` when it names what does not exist, `conflict` when it belongs to a file */
  async put(
    { kind, name, spec: written, values, labels = NO_LABELS, expected }: PutObject,
    check?: ChangeCheck,
  ): Promise<{ action: PutAction; stored: StoredObject }> {
    refuseFileObject(this.#files, kind, name);
    const existing = this.layer.objects.get(objectKey(kind, name));
    const spec =
      kind === 'Secret'
        ? changedSecret({ ...written, ...(values && { data: values }) }, existing?.spec)
        : written;
    this.#refuseDangling(kind, spec);
    const now = Date.now();
    const content = { spec, labels };
    const planned = {
      ...(existing ?? { kind, name, uid: '', version: 0, createdAt: now, updatedAt: now }),
      ...content,
    };
    this.#ask(check, { kind, name, existing, wanted: spec }, this.#with(planned));
    // Only now: to whom this is nothing, its existence is nothing either.
    refuseOtherVersion(`${kind.toLowerCase()} ${name}`, existing?.version, expected);
    // Values that are given are written, the same ones too: telling them apart would tell what they are.
    if (!values && existing?.spec && contentText(existing) === contentText(content)) {
      return { action: 'unchanged', stored: existing };
    }
    if (!existing) this.#refuseTooMany(kind);
    const action = existing ? 'configured' : 'created';
    if (!this.#write) return { action, stored: planned };
    const stored = await (existing
      ? this.#write.update(existing, content, now, values ? ['data'] : [])
      : this.#write.insert(kind, name, content, now));
    if (kind === 'Secret') await this.#write.putValues(stored, secretKeys(spec), values ?? {});
    this.layer = this.#with(stored);
    return { action, stored };
  }

  /** Removes an object that nothing needs any more; whoever may have had rights is taken out of what grants them. */
  async remove(
    kind: ResourceKind,
    name: string,
    { check, expected }: RemoveOptions = {},
  ): Promise<StoredObject> {
    refuseFileObject(this.#files, kind, name);
    const removed = this.layer.objects.get(objectKey(kind, name));
    if (!removed) throw new Refusal('not_found', `there is no ${kind.toLowerCase()} ${name}`);
    if (kind === 'Server') this.#refuseUsedServer(name);
    if (kind === 'Project') this.#refuseNamedProject(name);
    const objects = new Map(this.layer.objects);
    objects.delete(objectKey(kind, name));
    this.#ask(check, { kind, name, existing: removed, wanted: undefined }, { ...this.layer, objects });
    refuseOtherVersion(`${kind.toLowerCase()} ${name}`, removed.version, expected);
    if (this.#write) await this.#write.remove(removed);
    this.layer = { ...this.layer, objects };
    if (kind === 'User' || kind === 'Group') await this.forget({ kind, name });
    return removed;
  }

  /** Takes a subject out of everything that is stored and names it, so that a later namesake inherits nothing. */
  async forget(subject: Subject): Promise<void> {
    const now = Date.now();
    for (const object of this.layer.objects.values()) {
      const spec = object.spec && specWithout(object.kind, object.spec, subject);
      if (!spec) continue;
      const { labels } = object;
      const stored = this.#write
        ? await this.#write.update(object, { spec, labels }, now)
        : { ...object, spec };
      this.layer = this.#with(stored);
    }
  }

  #ask(
    check: ChangeCheck | undefined,
    change: Omit<PlannedChange, 'before' | 'after'>,
    after: StoredLayer,
  ): void {
    const before = this.layer;
    check?.({
      ...change,
      before: () => accessOf(before, this.#files),
      after: () => accessOf(after, this.#files),
    });
  }

  #with(stored: StoredObject): StoredLayer {
    const objects = new Map(this.layer.objects).set(objectKey(stored.kind, stored.name), stored);
    return { ...this.layer, objects };
  }

  #find(kind: ResourceKind, name: string): { spec: unknown } | undefined {
    const key = objectKey(kind, name);
    return this.#files.objects.get(key) ?? this.layer.objects.get(key);
  }

  #exists(kind: ResourceKind): (name: string) => boolean {
    return (name) => this.#find(kind, name) !== undefined;
  }

  #refuseDangling(kind: ResourceKind, spec: Record<string, unknown>): void {
    const problems: Problem[] = [];
    if (kind === 'Project') problems.push(...misnamedServers(spec, (name) => this.#find('Server', name)));
    if (kind === 'User') problems.push(...unknownGroups(spec, this.#exists('Group')));
    if (kind === 'OAuthClient') problems.push(...unknownClientNames(spec, (named) => this.#exists(named)));
    if (problems.length > 0) throw new Refusal('invalid', describeProblems(problems.map(locateField)));
  }

  #refuseTooMany(kind: ResourceKind): void {
    let count = 0;
    for (const object of this.layer.objects.values()) if (object.kind === kind) count += 1;
    if (count < MAX_OBJECTS) return;
    throw new Refusal(
      'conflict',
      `there are ${MAX_OBJECTS} objects of kind ${kind} already: delete some first`,
    );
  }

  #refuseUsedServer(name: string): void {
    const files = [...this.#files.objects.values()].filter((object) => object.kind === 'Project');
    const stored = [...this.layer.objects.values()].filter(
      (object) =>
        object.kind === 'Project' &&
        object.spec &&
        !this.#files.objects.has(objectKey('Project', object.name)),
    );
    const users = projectsWith(name, [...files, ...stored]);
    if (users.length === 0) return;
    const projects = users.length === 1 ? `project ${users[0]}` : `projects ${users.join(', ')}`;
    throw new Refusal('conflict', `server ${name} is used by ${projects}: remove it there first`);
  }

  #refuseNamedProject(name: string): void {
    const objects = [...this.layer.objects.values(), ...this.#files.objects.values()];
    const client = objects.find(({ kind, spec }) => kind === 'OAuthClient' && spec?.project === name);
    if (client)
      throw new Refusal(
        'conflict',
        `project ${name} is named by oauthclient ${client.name}: remove that first`,
      );
    const token = this.#files.tokens.find((one) => one.project === name);
    if (!token) return;
    const place = `${token.file}:${token.line}`;
    throw new Refusal(
      'conflict',
      `project ${name} is named by token ${token.name} (${place}): remove that first`,
    );
  }
}

const contentText = ({ spec, labels }: Pick<StoredObject, 'spec' | 'labels'>) =>
  canonicalJson([spec ?? null, labels]);

/** @throws VersionConflict naming the version that there is */
function refuseOtherVersion(
  what: string,
  current: number | undefined,
  expected: ExpectedVersion | undefined,
): void {
  if (expected === undefined) return;
  if (expected === 'none') {
    if (current === undefined) return;
    throw new VersionConflict(
      `${what} exists already (resourceVersion ${current}): change it with castellan apply, or use another name`,
    );
  }
  if (current === undefined) {
    throw new VersionConflict(`${what} does not exist any more: leave out resourceVersion to create it`);
  }
  if (expected.version === String(current)) return;
  throw new VersionConflict(
    `${what} has changed: its resourceVersion is ${current}, not ${printable(expected.version)}; read it again and repeat the change`,
  );
}

/** @throws Refusal `conflict` naming the file that the object belongs to */
function refuseFileObject(files: FileLayer, kind: ResourceKind, name: string): void {
  const owner = files.objects.get(objectKey(kind, name));
  if (!owner) return;
  const what = `${kind.toLowerCase()}/${name}`;
  throw new Refusal(
    'conflict',
    `${what} belongs to file ${owner.file}: change it there and run castellan reload`,
  );
}

function accessOf(layer: StoredLayer, files: FileLayer): Access {
  const stored = [...layer.objects.values()].filter(
    (object) => !files.objects.has(objectKey(object.kind, object.name)),
  );
  const declared = [...files.objects.values()].map((object) => ({
    ...object,
    uid: fileUid(object.kind, object.name),
  }));
  return buildAccess([...stored, ...declared]);
}

/** The spec of an Rbac, a User or an OAuthClient that no longer names the subject; undefined when it does not anyway. */
function specWithout(
  kind: string,
  spec: Record<string, unknown>,
  subject: Subject,
): Record<string, unknown> | undefined {
  if (kind === 'Rbac' && Array.isArray(spec.subjects)) {
    const rest = (spec.subjects as Subject[]).filter(
      (one) => one.kind !== subject.kind || one.name !== subject.name,
    );
    return rest.length === spec.subjects.length ? undefined : { ...spec, subjects: rest };
  }
  if (kind === 'User' && subject.kind === 'Group' && Array.isArray(spec.groups)) {
    const rest = spec.groups.filter((group) => group !== subject.name);
    return rest.length === spec.groups.length ? undefined : { ...spec, groups: rest };
  }
  if (kind === 'OAuthClient' && subject.kind === 'User' && spec.user === subject.name) {
    const { user: _, autoApprove: __, ...rest } = spec;
    return rest;
  }
  return undefined;
}
