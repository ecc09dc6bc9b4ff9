import { canonicalJson } from '../base/canonical-json.ts';
import { Refusal } from '../base/errors.ts';
import { type ExpansionSources, expandAll, expandText } from './expansion.ts';
import type { ResourceKind } from './known-objects.ts';
import { type FileLayer, projectsWith } from './layers.ts';
import { checkObject } from './objects.ts';
import { describeProblems, type Problem } from './problems.ts';
import { unknownServers } from './project-fields.ts';
import { objectKey, type RowWriter, type StoredLayer, type StoredObject } from './resource-rows.ts';
import { resolvedServerProblems } from './server-fields.ts';
import { locateField } from './snapshot.ts';

export type PutAction = 'created' | 'configured' | 'unchanged';

/** An object that somebody wants to put, checked alone. */
export type PutObject = { kind: ResourceKind; name: string; spec: Record<string, unknown> };

const MAX_OBJECTS = 10_000;

/** @throws Refusal `invalid` naming each field, what is wrong with it and the fix */
export function checkedPut(body: unknown, builtin: ExpansionSources['builtin']): PutObject {
  const { object, problems } = checkObject(body);
  if (!object) throw refusalOf(problems);
  const { kind, name, spec } = object;
  if (kind === 'McpToken') {
    throw new Refusal('invalid', 'kind: a McpToken is created, not put: POST it to /api/v1/mcptokens');
  }
  if (kind === 'Server') {
    const faults: Problem[] = [];
    const sources = { env: undefined, builtin };
    const resolved = expandAll(spec, ['spec'], (text) => expandText(text, sources), faults);
    if (faults.length === 0) faults.push(...resolvedServerProblems(resolved));
    if (faults.length > 0) throw refusalOf(faults);
  }
  return { kind, name, spec };
}

/** @throws Refusal `conflict` naming the file that the object belongs to */
export function refuseFileObject(files: FileLayer, kind: ResourceKind, name: string): void {
  const owner = (kind === 'Server' ? files.servers : files.projects).get(name);
  if (!owner) return;
  const what = `${kind.toLowerCase()}/${name}`;
  throw new Refusal(
    'conflict',
    `${what} belongs to file ${owner.file}: change it there and run castellan reload`,
  );
}

/**
 * Puts the object into the stored layer; without `write` only says what would happen. `layer` is the layer
 * afterwards, the same one when nothing changed.
 */
export async function putInto(
  layer: StoredLayer,
  { kind, name, spec }: PutObject,
  files: FileLayer,
  write: RowWriter | undefined,
): Promise<{ action: PutAction; stored: StoredObject; layer: StoredLayer }> {
  if (kind === 'Project') {
    const exists = (server: string) =>
      files.servers.has(server) || layer.objects.has(objectKey('Server', server));
    const problems = unknownServers(spec, exists);
    if (problems.length > 0) throw refusalOf(problems);
  }
  const existing = layer.objects.get(objectKey(kind, name));
  if (existing?.spec && canonicalJson(existing.spec) === canonicalJson(spec)) {
    return { action: 'unchanged', stored: existing, layer };
  }
  if (!existing && layer.objects.size >= MAX_OBJECTS) {
    throw new Refusal('conflict', `there are ${MAX_OBJECTS} objects already: delete some first`);
  }
  const action = existing ? 'configured' : 'created';
  const now = Date.now();
  if (!write) {
    const planned = existing ?? { kind, name, uid: '', version: 0, createdAt: now, updatedAt: now };
    return { action, stored: { ...planned, spec }, layer };
  }
  const stored = await (existing ? write.update(existing, spec, now) : write.insert(kind, name, spec, now));
  const objects = new Map(layer.objects).set(objectKey(kind, name), stored);
  return { action, stored, layer: { revision: layer.revision, objects } };
}

/** Removes an object that nothing names any more; without `write` only says whether it could be. */
export async function removeFrom(
  layer: StoredLayer,
  kind: ResourceKind,
  name: string,
  files: FileLayer,
  write: RowWriter | undefined,
): Promise<{ removed: StoredObject; layer: StoredLayer }> {
  const removed = layer.objects.get(objectKey(kind, name));
  if (!removed) throw new Refusal('not_found', `there is no ${kind.toLowerCase()} ${name}`);
  if (kind === 'Server') refuseUsedServer(name, layer, files);
  else refuseProjectOfToken(name, files);
  if (!write) return { removed, layer };
  await write.remove(removed);
  const objects = new Map(layer.objects);
  objects.delete(objectKey(kind, name));
  return { removed, layer: { revision: layer.revision, objects } };
}

function refuseUsedServer(name: string, layer: StoredLayer, files: FileLayer): void {
  const stored = [...layer.objects.values()].filter(
    (object) => object.kind === 'Project' && object.spec && !files.projects.has(object.name),
  );
  const users = projectsWith(name, [...files.projects.values(), ...stored]);
  if (users.length === 0) return;
  const projects = users.length === 1 ? `project ${users[0]}` : `projects ${users.join(', ')}`;
  throw new Refusal('conflict', `server ${name} is used by ${projects}: remove it there first`);
}

function refuseProjectOfToken(name: string, files: FileLayer): void {
  const token = files.tokens.find((one) => one.project === name);
  if (!token) return;
  const place = `${token.file}:${token.line}`;
  throw new Refusal(
    'conflict',
    `project ${name} is named by token ${token.name} (${place}): remove that first`,
  );
}

function refusalOf(problems: readonly Problem[]): Refusal {
  return new Refusal('invalid', describeProblems(problems.map(locateField)));
}
