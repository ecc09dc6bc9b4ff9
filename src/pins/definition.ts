import { canonicalJson } from '../base/canonical-json.ts';
import { sha256Hex } from '../base/ids.ts';
import type { JsonObject } from '../protocol/jsonrpc.ts';

/** Of definitions that are still listed; each is looked at by every view that shows it. */
const known = new WeakMap<JsonObject, string>();

/** SHA-256 of a tool's definition as its server wrote it, hex. */
export function definitionFingerprint(definition: JsonObject): string {
  let fingerprint = known.get(definition);
  if (fingerprint === undefined) {
    fingerprint = sha256Hex(canonicalJson(definition));
    known.set(definition, fingerprint);
  }
  return fingerprint;
}
