import type { Access } from '../resources/spec.ts';
import type { AuthenticatedCaller } from './caller.ts';
import { type Ask, type Decision, decide, type Layer } from './decide.ts';
import { RightsIndex } from './rights.ts';
import { ToolRights } from './tool-rights.ts';

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

  /** Whether the caller may still do anything at all: with nothing left, what is open for it is closed. */
  hasAny(caller: AuthenticatedCaller): boolean {
    return this.rights()
      .layersOf(caller)
      .every(({ rights }) => rights.length > 0);
  }

  /** Everybody's rights now. */
  rights(): RightsIndex {
    const access = this.#access();
    if (this.#index.access !== access) this.#index = new RightsIndex(access);
    return this.#index;
  }
}
