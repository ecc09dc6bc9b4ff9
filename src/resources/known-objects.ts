import { hash } from 'node:crypto';
import { base62 } from '../base/ids.ts';
import type { FileObject } from './documents.ts';
import type { KindName } from './kinds.ts';
import { type Labels, NO_LABELS } from './labels.ts';
import { API_VERSION, type ResourceObject } from './objects.ts';
import { type StoredObject, UID_PREFIX } from './resource-rows.ts';
import { type LayeredObject, locateField } from './snapshot.ts';

/** The kinds that live here; tokens belong to identity. */
export type ResourceKind = Exclude<KindName, 'McpToken'>;

/** An object of either layer, with the form in which it is shown. */
export type KnownObject = LayeredObject & { object: ResourceObject };

export function storedObject(stored: StoredObject): KnownObject {
  const { kind, name, uid, spec, labels } = stored;
  return {
    kind,
    name,
    uid,
    spec,
    file: undefined,
    locate: locateField,
    object: {
      apiVersion: API_VERSION,
      kind,
      metadata: {
        name,
        ...labelled(labels),
        uid,
        resourceVersion: String(stored.version),
        createdAt: new Date(stored.createdAt).toISOString(),
        updatedAt: new Date(stored.updatedAt).toISOString(),
        managedBy: 'api',
      },
      spec: spec ?? {},
    },
  };
}

/** `before` is the object of that name until now: its times stay when nothing changed. */
export function fileObject(
  declared: FileObject,
  resourceVersion: string,
  before: KnownObject | undefined,
  now: number,
): KnownObject {
  const { kind, name, spec, labels = NO_LABELS, file, locate } = declared;
  const uid = fileUid(kind, name);
  const same = before?.uid === uid ? before.object.metadata : undefined;
  const time = new Date(now).toISOString();
  const object: ResourceObject = {
    apiVersion: API_VERSION,
    kind,
    metadata: {
      name,
      ...labelled(labels),
      uid,
      resourceVersion,
      createdAt: same?.createdAt ?? time,
      updatedAt: same?.resourceVersion === resourceVersion ? same.updatedAt : time,
      managedBy: `file:${file}`,
    },
    spec,
  };
  return { kind, name, uid, spec, file, locate, object };
}

const labelled = (labels: Labels) => (Object.keys(labels).length > 0 ? { labels } : {});

/**
 * Files carry no ids, yet a token has to find its project again after a restart and in every process that reads the
 * same file: the id follows from kind and name.
 */
export function fileUid(kind: KindName, name: string): string {
  const digest = hash('sha256', `castellan file object\n${kind}\n${name}`, 'buffer').subarray(0, 16);
  return `${UID_PREFIX[kind]}_${base62(digest, 22)}`;
}
