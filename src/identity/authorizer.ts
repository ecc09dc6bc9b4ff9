import type { Access } from '../resources/spec.ts';
import type { AuthenticatedCaller } from './caller.ts';
import { type Ask, type Decision, decide, type Layer } from './decide.ts';
import { RightsIndex } from './rights.ts';
import { EVERY_TOOL, ToolRights } from './tool-rights.ts';

/** Answers from memory what a caller may do now. */
export class Authorizer {
  readonly #access: () => Access;
  #index: RightsIndex;
  readonly #toolRights = new WeakMap<readonly Layer[], Map<string, ToolRights>>();

  constructor(access: () => Access) {
    this.#access = access;
    this.#index = new RightsIndex(access());
  }

  decide(caller: AuthenticatedCaller, ask: Ask): Decision {
    return decide(this.rights().layersOf(caller), ask);
  }

  /** Which tools the caller may run in a project now. */
  toolRights(caller: AuthenticatedCaller, project: string): ToolRights {
    const layers = this.rights().layersOf(caller);
    let ofCaller = this.#toolRights.get(layers);
    if (!ofCaller) {
      ofCaller = new Map();
      this.#toolRights.set(layers, ofCaller);
    }
    let rights = ofCaller.get(project);
    if (!rights) {
      rights = new ToolRights(layers, project);
      ofCaller.set(project, rights);
    }
    return rights;
  }

  /** The same for looking at lists: whoever may view all tools of the project sees those that they may not run. */
  listRights(caller: AuthenticatedCaller, project: string): ToolRights {
    const views = this.decide(caller, { role: 'view', resource: 'tools', project }).allowed;
    return views ? EVERY_TOOL : this.toolRights(caller, project);
  }

  /** Everybody's rights now. */
  rights(): RightsIndex {
    const access = this.#access();
    if (this.#index.access !== access) this.#index = new RightsIndex(access);
    return this.#index;
  }
}
