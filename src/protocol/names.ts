/** What joins a server's name and its tool's own name in the canonical name. */
export const SEPARATOR = '__';
/** The longest name that the protocol allows (2026-07-28 server/tools#tool-names). */
export const MAX_NAME = 128;
/** Clients show tools as `mcp__<connection>__<name>` and cut or refuse over this length. */
const CLIENT_NAME_LIMIT = 64;
const HASH_LENGTH = 8;
const MIN_LIMIT = 24;
const INVALID = /[^A-Za-z0-9_.-]/g;

/** The name that policies, bindings, pins and audit match, whatever name a client sees. */
export function canonicalName(server: string, upstreamName: string): string {
  return `${server}${SEPARATOR}${upstreamName}`;
}

/** How long an exposed name may be so that a client's own prefix for this project still fits. */
export function exposedNameLimit(project: string): number {
  return Math.max(MIN_LIMIT, CLIENT_NAME_LIMIT - `mcp__${project}__`.length);
}

/**
 * A name that every client accepts: `[A-Za-z0-9_.-]`, at most `limit` characters. A name that had to be changed ends
 * in a hash of the canonical name, so that it is the same after every restart and two long names stay two.
 * (2026-07-28 server/tools#tool-names)
 */
export function exposedName(wanted: string, canonical: string, limit: number): string {
  const clean = wanted.replace(INVALID, '_');
  if (clean === wanted && clean.length <= limit && clean.length > 0) return clean;
  const head = clean.slice(0, limit - HASH_LENGTH - 1);
  return `${head}_${stableHash(canonical)}`;
}

/** 40 bits of FNV-1a over UTF-16 code units, twice with different seeds, in base 32: no secret, only spread. */
function stableHash(text: string): string {
  const one = fnv(text, 0x811c9dc5);
  const two = fnv(text, 0x9747b28c);
  return (one.toString(32).padStart(7, '0') + two.toString(32).padStart(7, '0')).slice(-HASH_LENGTH - 3, -3);
}

function fnv(text: string, seed: number): number {
  let hash = seed;
  for (let at = 0; at < text.length; at += 1) {
    hash ^= text.charCodeAt(at);
    hash = Math.imul(hash, 0x01000193);
  }
  return hash >>> 0;
}
