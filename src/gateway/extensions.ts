/**
 * Extensions of which we know nothing but their names. Nobody but the one server that has such an extension can answer
 * its methods, so it is offered where exactly one server of the surface has it, and its methods go there. A method
 * that does not say by itself which extension it is of belongs to one that its client declared; when two servers have
 * such, nobody can tell whom it is meant for, and it does not exist.
 */
import {
  declares,
  extensionOf,
  hasNamedMethods,
  isKnownExtension,
  passedExtensions,
} from '../protocol/extensions.ts';
import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import type { Listing } from '../upstream/listing.ts';

/** `whole`: the caller may use all that the server has, and so what its extensions do. */
export type Part = { server: string; listing: Listing | undefined; whole: boolean };

/** What a surface offers as extensions, by id; undefined when it is nothing. */
export function offeredExtensions(parts: readonly Part[]): JsonObject | undefined {
  const offered: [string, unknown][] = [];
  for (const [id, owners] of ownersOf(parts)) {
    // Of one that we know, the settings of the first that has it.
    if (isKnownExtension(id) || owners.length === 1) offered.push([id, owners[0]!.settings]);
  }
  return offered.length > 0 ? Object.fromEntries(offered) : undefined;
}

/** Whether a method says which extension it is of, or its client uses one that it could be of. */
export function couldBeMeant(method: string, { extensions }: JsonObject): boolean {
  if (extensionOf(method) !== undefined) return true;
  return isObject(extensions) && Object.keys(passedExtensions(extensions)).some((id) => !hasNamedMethods(id));
}

/** The server that a method of an extension is meant for; undefined when there is none, or more than one could be. */
export function serverForMethod(
  method: string,
  declared: JsonObject,
  parts: readonly Part[],
): string | undefined {
  const own = extensionOf(method);
  const candidates = new Set<string>();
  for (const [id, owners] of ownersOf(parts)) {
    const meant = own === undefined ? declares(declared, id) && !hasNamedMethods(id) : id === own;
    if (meant) for (const { server } of owners) candidates.add(server);
  }
  const [only] = candidates;
  return candidates.size === 1 ? only : undefined;
}

function ownersOf(parts: readonly Part[]): Map<string, { server: string; settings: unknown }[]> {
  const owners = new Map<string, { server: string; settings: unknown }[]>();
  for (const { server, listing, whole } of parts) {
    const { extensions } = listing?.peer.capabilities ?? {};
    if (listing?.peer.era !== 'modern' || !isObject(extensions)) continue;
    for (const [id, settings] of Object.entries(passedExtensions(extensions))) {
      if (!whole && !isKnownExtension(id)) continue;
      const known = owners.get(id);
      if (known) known.push({ server, settings });
      else owners.set(id, [{ server, settings }]);
    }
  }
  return owners;
}
