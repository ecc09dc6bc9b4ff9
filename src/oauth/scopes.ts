import type { Surface } from '../resources/spec.ts';

/**
 * `mcp` opens the consumer surface of one project, `mcp:operator` both of its surfaces; `api` is the command line's:
 * everything that the user may do, human acts aside.
 */
export const SCOPES = ['mcp', 'mcp:operator', 'api'] as const;

export type Scope = (typeof SCOPES)[number];

export function surfacesOfScopes(scopes: readonly string[]): ReadonlySet<Surface> {
  const both = scopes.includes('mcp:operator') || scopes.includes('api');
  return new Set<Surface>(both ? ['consumer', 'operator'] : scopes.includes('mcp') ? ['consumer'] : []);
}

/** The scope that a request for this surface needs, with all that it implies left out. */
export function scopeOfSurface(surface: Surface): Scope {
  return surface === 'operator' ? 'mcp:operator' : 'mcp';
}
