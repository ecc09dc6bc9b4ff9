import { globMatches } from '../base/glob.ts';

/** Which hosts may say who a client is. */
export type DocumentHosts = {
  /** Globs over host names: their documents are read at public addresses alone. */
  names: readonly string[];
  /** Origins that may also lie in a network of one's own. */
  origins: readonly string[];
};

export function allowsDocument({ names, origins }: DocumentHosts, { hostname, origin }: URL): boolean {
  return origins.includes(origin) || names.some((name) => globMatches(name, hostname));
}
