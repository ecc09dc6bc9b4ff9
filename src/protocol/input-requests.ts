import { passedExtensions } from './extensions.ts';
import { ErrorCode, isObject, type JsonObject, type JsonRpcError } from './jsonrpc.ts';

/** Something that a server wants to know from the client (2026-07-28 basic/patterns/mrtr#inputrequests). */
export type InputRequest = { method: string; params?: JsonObject };
export type InputRequests = { [key: string]: InputRequest };

/** What the client said, by key. A client of the legacy era may also answer with an error. */
export type InputAnswers = {
  results: { readonly [key: string]: JsonObject };
  errors: { readonly [key: string]: JsonRpcError };
};

/**
 * The part of a client's capabilities that servers may build on through us. `signature` names the set: there are a
 * few dozen sets at most, however many clients there are.
 */
export type Relayed = {
  readonly signature: string;
  readonly capabilities: JsonObject;
  /** The same for a server that serves one session of this client alone, and so can be told when its roots change. */
  readonly session: JsonObject;
  /** The same for a modern server, which also hears of extensions; they need no connection of their own. */
  readonly modern: JsonObject;
};

export const NOTHING_RELAYED: Relayed = { signature: '', capabilities: {}, session: {}, modern: {} };

/** Only what is listed here is passed on: a key that nobody relays must not promise anything. */
export function relayedCapabilities(client: JsonObject): Relayed {
  const { elicitation, sampling, roots, extensions } = client;
  const known = elicitation ?? sampling ?? roots ?? extensions;
  if (known === undefined) return NOTHING_RELAYED;
  const marks: string[] = [];
  const capabilities: JsonObject = {};
  if (isObject(elicitation)) {
    const modes: JsonObject = {};
    // An empty object means form, as it did before there was another mode.
    if (isObject(elicitation.form) || elicitation.url === undefined) modes.form = {};
    if (isObject(elicitation.url)) modes.url = {};
    capabilities.elicitation = modes;
    marks.push(...Object.keys(modes));
  }
  if (isObject(sampling)) {
    const features: JsonObject = {};
    if (isObject(sampling.tools)) features.tools = {};
    if (isObject(sampling.context)) features.context = {};
    capabilities.sampling = features;
    marks.push('sampling', ...Object.keys(features));
  }
  if (isObject(roots)) {
    capabilities.roots = {};
    marks.push('roots');
  }
  const modern = isObject(extensions)
    ? { ...capabilities, extensions: passedExtensions(extensions) }
    : capabilities;
  const announced = isObject(roots) && roots.listChanged === true;
  const session = announced ? { ...capabilities, roots: { listChanged: true } } : capabilities;
  return { signature: marks.join('+'), capabilities, session, modern };
}

/** The capability object that these requests need and the client did not declare; undefined when it has all. */
function missingCapabilities(requests: InputRequests, has: JsonObject): JsonObject | undefined {
  const missing: JsonObject = {};
  for (const { method, params } of Object.values(requests)) {
    if (method === 'elicitation/create') {
      const mode = params?.mode === 'url' ? 'url' : 'form';
      const modes = isObject(has.elicitation) ? has.elicitation : {};
      if (!isObject(modes[mode])) {
        missing.elicitation = { ...(missing.elicitation as JsonObject | undefined), [mode]: {} };
      }
    } else if (method === 'sampling/createMessage') {
      if (!isObject(has.sampling)) missing.sampling = {};
      else if (params?.tools !== undefined && !isObject(has.sampling.tools)) missing.sampling = { tools: {} };
    } else if (method === 'roots/list' && !isObject(has.roots)) {
      missing.roots = {};
    }
  }
  return Object.keys(missing).length > 0 ? missing : undefined;
}

/** -32021 when the client did not say that it can be asked these things (2026-07-28 basic/index#error-codes). */
export function capabilityFault(
  requests: InputRequests,
  { capabilities }: Relayed,
): JsonRpcError | undefined {
  const requiredCapabilities = missingCapabilities(requests, capabilities);
  if (!requiredCapabilities) return undefined;
  const names = Object.keys(requiredCapabilities).join(', ');
  return {
    code: ErrorCode.missingClientCapability,
    message: `The server needs to ask something that this client does not support: ${names}`,
    data: { requiredCapabilities },
  };
}

const MAX_PAGES = 32;

/**
 * What a legacy server wants its user to do on pages before it runs a request (2025-11-25
 * client/elicitation#url-elicitation-required-error); undefined when the error is another or names none.
 */
export function pagesOf({ code, data }: JsonRpcError): InputRequests | undefined {
  if (code !== ErrorCode.urlElicitationRequired || !isObject(data)) return undefined;
  const { elicitations } = data;
  if (!Array.isArray(elicitations) || elicitations.length === 0 || elicitations.length > MAX_PAGES) {
    return undefined;
  }
  const requests: InputRequests = {};
  for (const [at, one] of elicitations.entries()) {
    if (!isObject(one) || typeof one.url !== 'string' || typeof one.message !== 'string') return undefined;
    // The later revision has no id to complete it by: the request is sent again instead.
    const { elicitationId: _, ...params } = one;
    requests[`page-${at + 1}`] = { method: 'elicitation/create', params: { ...params, mode: 'url' } };
  }
  return requests;
}

const KINDS = new Set(['elicitation/create', 'sampling/createMessage', 'roots/list']);

/** Whether a method is one that a server may ask a client. */
export function isInputMethod(method: string): boolean {
  return KINDS.has(method);
}

/** Checks what a server sent as `inputRequests`; undefined when it is not a map of known requests. */
export function asInputRequests(value: unknown): InputRequests | undefined {
  if (value === undefined) return {};
  if (!isObject(value)) return undefined;
  for (const request of Object.values(value)) {
    if (!isObject(request) || typeof request.method !== 'string' || !KINDS.has(request.method))
      return undefined;
    if (request.params !== undefined && !isObject(request.params)) return undefined;
  }
  return value as InputRequests;
}

/** A request without what belonged to the hop it came over. */
export function embeddable({ method, params }: InputRequest): InputRequest {
  if (!isObject(params?._meta) || !('progressToken' in params._meta))
    return params ? { method, params } : { method };
  const { progressToken: _, ...meta } = params._meta;
  const { _meta, ...rest } = params;
  return { method, params: Object.keys(meta).length > 0 ? { ...rest, _meta: meta } : rest };
}
