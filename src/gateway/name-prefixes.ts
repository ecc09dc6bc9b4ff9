import { canonicalName } from '../protocol/names.ts';
import type { PrefixMode } from '../resources/spec.ts';
import type { ViewPart } from './view.ts';

/** Names that more than one server uses. */
export function clashes(
  parts: readonly ViewPart[],
  namesOf: (part: ViewPart) => string[],
): ReadonlySet<string> {
  const owners = new Map<string, string>();
  const twice = new Set<string>();
  for (const part of parts) {
    for (const name of namesOf(part)) {
      const owner = owners.get(name);
      if (owner === undefined) owners.set(name, part.server);
      else if (owner !== part.server) twice.add(name);
    }
  }
  return twice;
}

export function withPrefix(
  server: string,
  name: string,
  mode: PrefixMode,
  twice: ReadonlySet<string>,
): string {
  if (mode === 'always') return canonicalName(server, name);
  return mode === 'conditional' && twice.has(name) ? canonicalName(server, name) : name;
}
