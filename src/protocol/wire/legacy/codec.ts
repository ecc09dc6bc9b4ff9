import { ErrorCode, isObject, type JsonObject, type JsonRpcError } from '../../jsonrpc.ts';
import type { Envelope } from '../../model.ts';
import { ASSUMED_LEGACY_REVISION, Meta } from '../../revisions.ts';
import { type Codec, withMeta, withoutKeys } from '../codec.ts';
import { wrapOutputSchema, wrapStructuredContent } from './structured-content.ts';
import { taskForLegacy, taskFromLegacy } from './tasks.ts';

const RESERVED = 'io.modelcontextprotocol/';
const isRequestEnvelopeKey = (key: string) => key === 'progressToken' || isHopKey(key);
const HOP_KEYS = new Set<string>(Object.values(Meta));
const isHopKey = (key: string) => key.startsWith(RESERVED) && HOP_KEYS.has(key);

const NO_SESSION: Envelope = {
  era: 'legacy',
  revision: ASSUMED_LEGACY_REVISION,
  clientCapabilities: {},
  clientInfo: undefined,
  logLevel: undefined,
  progressToken: undefined,
};

/** A client that introduces itself says in the same request what it can do. */
function introducedBy(params: JsonObject | undefined): Envelope {
  const { capabilities, clientInfo } = params ?? {};
  return {
    ...NO_SESSION,
    clientCapabilities: isObject(capabilities) ? capabilities : {},
    clientInfo: isObject(clientInfo) ? clientInfo : undefined,
  };
}

/** Protocol revisions up to 2025-11-25: a handshake, sessions, results without a discriminator. */
export const legacyCodec: Codec = {
  methods: new Set([
    'initialize',
    'ping',
    'tools/list',
    'tools/call',
    'resources/list',
    'resources/templates/list',
    'resources/read',
    'prompts/list',
    'prompts/get',
    'completion/complete',
    'logging/setLevel',
    'resources/subscribe',
    'resources/unsubscribe',
    'tasks/get',
    'tasks/result',
    'tasks/cancel',
  ]),

  mayExtend: () => false,

  // Legacy answers carry their errors in band.
  errorStatus: () => 200,

  decodeRequest(method, params, session) {
    const base = method === 'initialize' ? introducedBy(params) : (session ?? NO_SESSION);
    if (params === undefined) return { method, params: {}, envelope: base };
    const meta = isObject(params._meta) ? params._meta : undefined;
    if (!meta) return { method, params, envelope: base };
    const token = meta.progressToken;
    const progressToken = typeof token === 'string' || typeof token === 'number' ? token : undefined;
    const kept = withoutKeys(meta, isRequestEnvelopeKey);
    return {
      method,
      params: kept === meta ? params : withMeta(params, kept),
      envelope: progressToken === undefined ? base : { ...base, progressToken },
    };
  },

  encodeResult(method, result) {
    const shaped =
      result.resultType === 'task' || isTaskState(method) ? taskForLegacy(method, result) : result;
    let out = withoutModernKeys(shaped);
    if (isObject(out._meta)) {
      const kept = withoutKeys(out._meta, isHopKey);
      if (kept !== out._meta) out = withMeta(out, kept);
    }
    if (method === 'tools/call') return wrapStructuredContent(out);
    if (method === 'tools/list') return wrapOutputSchemas(out);
    return out;
  },

  encodeError(method, error) {
    const notFound = method === 'resources/read' && error.code === ErrorCode.invalidParams;
    return notFound && isObject(error.data) && typeof error.data.uri === 'string'
      ? { ...error, code: ErrorCode.legacyResourceNotFound }
      : error;
  },

  encodeRequest(_method, params, envelope) {
    if (envelope.progressToken === undefined) return Object.keys(params).length > 0 ? params : undefined;
    const meta = isObject(params._meta) ? params._meta : undefined;
    return { ...params, _meta: { ...meta, progressToken: envelope.progressToken } };
  },

  decodeResult(method, sent) {
    // What means something in the later era alone means nothing here, whatever a server sends.
    const result = withoutModernKeys(sent);
    const ofTask = method === 'tools/call' ? 'task' in result : isTaskState(method);
    return { ok: true, result: ofTask ? taskFromLegacy(method, result) : result };
  },

  decodeError(method, error): JsonRpcError {
    if (method !== 'resources/read' || error.code !== ErrorCode.legacyResourceNotFound) return error;
    const data = isObject(error.data) ? error.data : {};
    // The URI in the data is what tells a missing resource from other invalid parameters.
    return { ...error, code: ErrorCode.invalidParams, data: { uri: '', ...data } };
  },
};

/** Whether the result of a method is the state of a task. */
function isTaskState(method: string): boolean {
  return method === 'tasks/get' || method === 'tasks/cancel';
}

function withoutModernKeys(result: JsonObject): JsonObject {
  if (!('resultType' in result || 'ttlMs' in result || 'cacheScope' in result)) return result;
  const { resultType: _type, ttlMs: _ttl, cacheScope: _scope, ...rest } = result;
  return rest;
}

function wrapOutputSchemas(result: JsonObject): JsonObject {
  if (!Array.isArray(result.tools)) return result;
  let changed = false;
  const tools = result.tools.map((tool: unknown) => {
    if (!isObject(tool) || !isObject(tool.outputSchema)) return tool;
    const outputSchema = wrapOutputSchema(tool.outputSchema);
    if (outputSchema === tool.outputSchema) return tool;
    changed = true;
    return { ...tool, outputSchema };
  });
  return changed ? { ...result, tools } : result;
}
