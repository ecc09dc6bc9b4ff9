import type { JsonObject, JsonRpcError } from '../jsonrpc.ts';
import type { Envelope, Implementation, NeutralRequest } from '../model.ts';

/** What an upstream request needs beside method and payload. */
export type OutgoingEnvelope = {
  revision: string;
  clientInfo: Implementation;
  clientCapabilities: JsonObject;
  /** Our own token on this hop; undefined asks for no progress. */
  progressToken: string | number | undefined;
  logLevel: string | undefined;
};

/**
 * One era's way to write what the house thinks in. Every function returns its input untouched (the same object) when
 * nothing must change, so that an edge can tell that an answer's bytes may be forwarded as they came.
 */
export type Codec = {
  /** Client methods that exist in this era; a method that is missing here does not exist. */
  readonly methods: ReadonlySet<string>;
  /** Whether another method could be one of an extension, which a server has and we do not know. */
  mayExtend(method: string): boolean;
  /** HTTP status that goes with an error answer. */
  errorStatus(code: number): number;

  /** Takes the envelope off a client's request. `session` is the legacy handshake's, when there was one. */
  decodeRequest(
    method: string,
    params: JsonObject | undefined,
    session: Envelope | undefined,
  ): NeutralRequest;
  /** Puts this era's result envelope around a neutral result. */
  encodeResult(method: string, result: JsonObject, server: Implementation): JsonObject;
  encodeError(method: string, error: JsonRpcError): JsonRpcError;

  /** Params of a request to an upstream of this era. */
  encodeRequest(method: string, params: JsonObject, envelope: OutgoingEnvelope): JsonObject | undefined;
  /** An upstream's result as a neutral one, or a sentence that says why it is invalid. */
  decodeResult(
    method: string,
    result: JsonObject,
  ): { ok: true; result: JsonObject } | { ok: false; reason: string };
  decodeError(method: string, error: JsonRpcError): JsonRpcError;
};

/** Copies `_meta` without the keys that belong to one hop; the same object when it has none of them. */
export function withoutKeys(meta: JsonObject, owned: (key: string) => boolean): JsonObject {
  let dropped = false;
  for (const key in meta) {
    if (owned(key)) {
      dropped = true;
      break;
    }
  }
  if (!dropped) return meta;
  const rest: JsonObject = {};
  for (const [key, value] of Object.entries(meta)) if (!owned(key)) rest[key] = value;
  return rest;
}

/** `holder` with its `_meta` replaced, or without one when nothing is left in it. */
export function withMeta(holder: JsonObject, meta: JsonObject): JsonObject {
  if (Object.keys(meta).length > 0) return { ...holder, _meta: meta };
  const { _meta: _, ...rest } = holder;
  return rest;
}
