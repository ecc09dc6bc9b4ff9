import { ACTIONS, type Binding } from '../resources/bindings.ts';
import type { Access } from '../resources/spec.ts';
import type { AuthenticatedCaller, Principal } from './caller.ts';
import type { Layer, Right } from './decide.ts';
import { ToolRights } from './tool-rights.ts';

const NONE: readonly Right[] = [];
/** An OAuth client has no rights of its own: its scope bounds what it reaches, its user what it may do there. */
const EVERYTHING: readonly Binding[] = [
  { role: 'admin', resource: '*' },
  ...ACTIONS.map((action) => ({ action })),
];

/** Everybody's rights as one state of the configuration grants them. */
export class RightsIndex {
  readonly access: Access;
  readonly #bySubject = new Map<string, Right[]>();
  readonly #layers = new WeakMap<AuthenticatedCaller, readonly Layer[]>();

  constructor(access: Access) {
    this.access = access;
    for (const { name, subjects, bindings } of access.rbacs.values()) {
      for (const subject of new Set(subjects.map((one) => `${one.kind}:${one.name}`))) {
        const rights = this.#bySubject.get(subject) ?? [];
        rights.push(...bindings.map((binding) => ({ rbac: name, subject, binding })));
        this.#bySubject.set(subject, rights);
      }
    }
  }

  /** A user that is there and not disabled. */
  isActive(user: string): boolean {
    return this.access.users.get(user)?.disabled === false;
  }

  /** What the subject itself is granted, as Rbac objects name it: `User:…`, `Group:…`, `McpToken:…`. */
  granted(subject: string): readonly Right[] {
    return this.#bySubject.get(subject) ?? NONE;
  }

  /** All rights of a principal, those of its groups included. */
  of(principal: Principal): readonly Right[] {
    if (principal.startsWith('OAuthClient:'))
      return EVERYTHING.map((binding) => ({ rbac: '', subject: principal, binding }));
    if (!principal.startsWith('User:')) return this.granted(principal);
    const user = this.access.users.get(principal.slice('User:'.length));
    if (!user || user.disabled) return NONE;
    const groups = user.groups.flatMap((group) => this.granted(`Group:${group}`));
    return [...this.granted(principal), ...groups];
  }

  /** Whether anything is left that the caller may do: without that, what is open for it is closed. */
  opens(caller: AuthenticatedCaller): boolean {
    const layers = this.layersOf(caller);
    if (caller.project !== '*') return !new ToolRights(layers, caller.project).isNothing;
    return layers.every(({ rights }) => rights.length > 0);
  }

  /** What the credential stands on, its own rights first. */
  layersOf(caller: AuthenticatedCaller): readonly Layer[] {
    let layers = this.#layers.get(caller);
    if (!layers) {
      layers = [caller.principal, ...caller.ceilings].map((principal) => ({
        principal,
        rights: this.of(principal),
        project: boundTo(principal, caller),
      }));
      this.#layers.set(caller, layers);
    }
    return layers;
  }
}

/** A credential of one project reaches nothing outside it; the users behind it may reach more by themselves. */
function boundTo(principal: Principal, { project }: AuthenticatedCaller): string | undefined {
  return principal.startsWith('User:') || project === '*' ? undefined : project;
}

/** What a caller was given itself: a client has nothing of its own, so it is what its user was given. */
export function ownRights(
  layers: readonly Layer[],
  { principal, owner }: Pick<AuthenticatedCaller, 'principal' | 'owner'>,
): readonly Right[] {
  const own = principal.startsWith('OAuthClient:') ? `User:${owner}` : principal;
  return layers.find((layer) => layer.principal === own)?.rights ?? NONE;
}
