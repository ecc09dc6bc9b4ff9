import type { JsonObject, JsonRpcError } from './jsonrpc.ts';
import type { Era } from './revisions.ts';

/** What surrounds a request in either era: the modern `_meta` envelope, or the legacy session's handshake. */
export type Envelope = {
  era: Era;
  revision: string;
  clientCapabilities: JsonObject;
  clientInfo: JsonObject | undefined;
  logLevel: string | undefined;
  /** The caller's own token; only the downstream edge ever puts it on a wire again. */
  progressToken: string | number | undefined;
};

/**
 * A request with its envelope taken off. `method` is the modern name; `params` is the payload, `params._meta` holds
 * what is not ours (vendor keys, trace context). Unknown keys are kept.
 */
export type NeutralRequest = { method: string; params: JsonObject; envelope: Envelope };

/**
 * A result and the JSON text it was parsed from, on one line. Whoever changes the result, or something in it, has another
 * object from there up to the result: what is still the same object goes out as it is written here.
 */
export type Written = { readonly result: JsonObject; readonly text: string };

/** An answer in the modern shape, before the downstream era's envelope. */
export type NeutralOutcome =
  | { ok: true; result: JsonObject; written?: Written | undefined }
  | { ok: false; error: JsonRpcError };

/** Who a hop says it is (specification `Implementation`). */
export type Implementation = { name: string; version: string; title?: string; websiteUrl?: string };
