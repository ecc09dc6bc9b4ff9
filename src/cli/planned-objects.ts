import type { AppliedObject } from '../resources/apply.ts';
import type { KindName } from '../resources/kinds.ts';
import type { WrittenForm } from './written-form.ts';

/** Fields that name objects which have to exist. */
const NAMING: Partial<Record<KindName, { fields: readonly string[]; named: KindName }>> = {
  Project: { fields: ['servers', 'operatorServers'], named: 'Server' },
  User: { fields: ['groups'], named: 'Group' },
};

/** What a dry run has to know of the objects beside it, which do not exist yet when the server checks one. */
export class PlannedObjects {
  readonly #all: ReadonlySet<string>;
  readonly #projects = new Set<string>();

  constructor(objects: readonly AppliedObject[]) {
    this.#all = new Set(objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`));
  }

  /** Whether the object belongs to a project that would only be made now, and so cannot be checked. */
  isWithin({ metadata: { project } }: AppliedObject): boolean {
    return project !== undefined && this.#projects.has(project);
  }

  add({ kind, metadata }: AppliedObject): void {
    if (kind === 'Project') this.#projects.add(metadata.name);
  }

  /** The object without the names of objects in the same files. */
  without(object: WrittenForm): WrittenForm {
    const naming = NAMING[object.kind];
    if (!naming) return object;
    const spec = { ...object.spec };
    for (const field of naming.fields) {
      const names = spec[field];
      if (!Array.isArray(names)) continue;
      spec[field] = names.filter((name) => !this.#all.has(`${naming.named}/${name}`));
    }
    return { ...object, spec };
  }
}
