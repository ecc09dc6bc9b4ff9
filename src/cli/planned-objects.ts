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
  readonly #added = new Set<string>();

  constructor(objects: readonly AppliedObject[]) {
    this.#all = new Set(objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`));
  }

  /** Whether the object belongs to a project or a user that would only be made now, and so cannot be checked. */
  isWithin({ kind, metadata: { project }, spec }: AppliedObject): boolean {
    const named = [`Project/${project}`];
    if (kind === 'OAuthClient') named.push(`Project/${spec.project}`, `User/${spec.user}`);
    return named.some((one) => this.#added.has(one));
  }

  add({ kind, metadata }: AppliedObject): void {
    this.#added.add(`${kind}/${metadata.name}`);
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
