import { newId } from '../base/ids.ts';
import type { KnownObject } from './known-objects.ts';
import type { ResourceObject } from './objects.ts';

/** A change of one object: without `before` it came, without `now` it went. */
export type ObjectChange = {
  before: ResourceObject | undefined;
  now: ResourceObject | undefined;
  /** Of the feed once this has happened. */
  version: string;
};

const MAX_KEPT = 1000;
const MAX_LISTENERS = 10_000;

/**
 * The last changes of all objects, in the order in which this process saw them. A version stands for a place in the
 * feed of this very process: with another one, or one that is too old, a reader has to list anew.
 */
export class ObjectFeed {
  readonly #process = newId('feed').slice(-8);
  readonly #kept: ObjectChange[] = [];
  readonly #listeners = new Set<(changes: readonly ObjectChange[]) => void>();
  #last = 0;

  get version(): string {
    return this.#at(this.#last);
  }

  /** What came after `version`; undefined when that is not known any more. */
  since(version: string): readonly ObjectChange[] | undefined {
    const place = /^[A-Za-z0-9]+\.(\d{1,15})$/.exec(version);
    const behind = this.#last - Number(place?.[1]);
    if (place === null || version !== this.#at(Number(place[1])) || behind < 0) return undefined;
    if (behind > this.#kept.length) return undefined;
    return this.#kept.slice(this.#kept.length - behind);
  }

  /** The answer ends it. */
  onChanges(listener: (changes: readonly ObjectChange[]) => void): () => void {
    if (this.#listeners.size >= MAX_LISTENERS) throw new Error('too many listen to changes of objects');
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Tells what is different between two states of all objects. */
  note(before: ReadonlyMap<string, KnownObject>, now: ReadonlyMap<string, KnownObject>): void {
    const changes: ObjectChange[] = [];
    for (const key of new Set([...before.keys(), ...now.keys()])) {
      const [old, fresh] = [before.get(key)?.object, now.get(key)?.object];
      if (identity(old) === identity(fresh)) continue;
      this.#last += 1;
      changes.push({ before: old, now: fresh, version: this.version });
    }
    if (changes.length === 0) return;
    this.#kept.push(...changes);
    this.#kept.splice(0, this.#kept.length - MAX_KEPT);
    for (const listener of [...this.#listeners]) listener(changes);
  }

  #at(place: number): string {
    return `${this.#process}.${place}`;
  }
}

function identity(object: ResourceObject | undefined): string | undefined {
  if (!object) return undefined;
  const { uid, resourceVersion, managedBy } = object.metadata;
  return JSON.stringify([uid, resourceVersion, managedBy]);
}
