import type { JsonObject } from '../protocol/jsonrpc.ts';
import type { ProjectSpec } from '../resources/spec.ts';

/** Why a definition is not accepted: its tool has none that is, or another one. */
export type Unaccepted = 'new' | 'changed';

/** Of one tool: the fingerprints that were seen, oldest first, and whether each is accepted. */
export type PinnedTool = ReadonlyMap<string, boolean>;

/** Of one server in one project: what was seen of its tools, by the name that the server gives them. */
export type Pinned = Map<string, Map<string, boolean>>;

/** A definition that is not known yet, with what the project says of such ones. */
export type SeenDefinition = {
  tool: string;
  fingerprint: string;
  definition: JsonObject;
  /** It stands in the first list of its server that the project has seen. */
  isFirst: boolean;
  newTools: ProjectSpec['newTools'];
  changedTools: ProjectSpec['changedTools'];
};

/** More definitions of one tool do not wait at the same time: the oldest makes room. */
export const MAX_WAITING = 4;

/** Undefined: it is accepted. */
export function unacceptedFor(tool: PinnedTool | undefined, fingerprint: string): Unaccepted | undefined {
  if (tool?.get(fingerprint)) return undefined;
  return tool && [...tool.values()].includes(true) ? 'changed' : 'new';
}

/**
 * What becomes of a definition: a tool of the first list is trusted, and so is one that appears later where the project
 * lists new tools; whatever differs from an accepted definition waits for somebody to accept it.
 */
export function admit(pinned: Pinned, { tool, fingerprint, isFirst, newTools }: SeenDefinition): Admitted {
  const known = pinned.get(tool) ?? new Map<string, boolean>();
  pinned.set(tool, known);
  const why = unacceptedFor(known, fingerprint);
  if (why === undefined) return { isNews: false, dropped: undefined, why };
  const trusted = why === 'new' && (isFirst || newTools === 'list');
  const isNews = known.get(fingerprint) !== trusted;
  known.set(fingerprint, trusted);
  return { isNews, dropped: oldestBeyond(known), why: trusted ? undefined : why };
}

/** `isNews`: nothing of it is on record yet; `dropped`: the fingerprint that made room; `why`: what it waits for. */
export type Admitted = { isNews: boolean; dropped: string | undefined; why: Unaccepted | undefined };

function oldestBeyond(known: Map<string, boolean>): string | undefined {
  const waiting = [...known].filter(([, accepted]) => !accepted).map(([fingerprint]) => fingerprint);
  const [oldest] = waiting;
  if (waiting.length <= MAX_WAITING || oldest === undefined) return undefined;
  known.delete(oldest);
  return oldest;
}
