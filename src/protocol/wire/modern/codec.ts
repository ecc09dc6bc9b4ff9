import { mayBeOfExtension } from '../../extensions.ts';
import { ErrorCode, isObject, type JsonObject } from '../../jsonrpc.ts';
import { Meta, MODERN_REVISION } from '../../revisions.ts';
import { type Codec, withMeta, withoutKeys } from '../codec.ts';

const ENVELOPE_KEYS = new Set<string>([
  Meta.protocolVersion,
  Meta.clientCapabilities,
  Meta.clientInfo,
  Meta.logLevel,
  'progressToken',
]);
const isEnvelopeKey = (key: string) => ENVELOPE_KEYS.has(key);
const isServerKey = (key: string) => key === Meta.serverInfo || key === Meta.subscriptionId;

/** Results of these methods say how long and for whom they may be kept (2026-07-28 server/utilities/caching). */
const CACHEABLE = new Set([
  'server/discover',
  'tools/list',
  'prompts/list',
  'resources/list',
  'resources/templates/list',
  'resources/read',
]);

/** `task` belongs to the tasks extension (SEP-2663); whether the caller may get one is not the codec's to say. */
const RESULT_TYPES = new Set<unknown>(['complete', 'input_required', 'task']);

/** Protocol revision 2026-07-28: no handshake, every request carries its own envelope. */
export const modernCodec: Codec = {
  methods: new Set([
    'server/discover',
    'subscriptions/listen',
    'tools/list',
    'tools/call',
    'resources/list',
    'resources/templates/list',
    'resources/read',
    'prompts/list',
    'prompts/get',
    'completion/complete',
    'tasks/get',
    'tasks/update',
    'tasks/cancel',
  ]),

  mayExtend: mayBeOfExtension,

  // (2026-07-28 basic/index#error-codes; streamable-http#protocol-version-header)
  errorStatus(code) {
    if (code === ErrorCode.methodNotFound) return 404;
    const protocolFault =
      code === ErrorCode.headerMismatch ||
      code === ErrorCode.missingClientCapability ||
      code === ErrorCode.unsupportedProtocolVersion;
    return protocolFault ? 400 : 200;
  },

  decodeRequest(method, params = {}) {
    const meta = isObject(params._meta) ? params._meta : {};
    const token = meta.progressToken;
    const level = meta[Meta.logLevel];
    const capabilities = meta[Meta.clientCapabilities];
    const info = meta[Meta.clientInfo];
    return {
      method,
      params: withMeta(params, withoutKeys(meta, isEnvelopeKey)),
      envelope: {
        era: 'modern',
        revision: MODERN_REVISION,
        clientCapabilities: isObject(capabilities) ? capabilities : {},
        clientInfo: isObject(info) ? info : undefined,
        // What is no level at all is refused with the same words as an unknown one.
        logLevel: level === undefined ? undefined : String(level),
        progressToken: typeof token === 'string' || typeof token === 'number' ? token : undefined,
      },
    };
  },

  encodeResult(method, result, server) {
    const meta = isObject(result._meta) ? withoutKeys(result._meta, isServerKey) : undefined;
    const out: JsonObject = {
      resultType: 'complete',
      ...result,
      _meta: { ...meta, [Meta.serverInfo]: server },
    };
    if (CACHEABLE.has(method) && out.resultType === 'complete') {
      // Unknown means: do not keep.
      if (!Number.isInteger(out.ttlMs) || (out.ttlMs as number) < 0) out.ttlMs = 0;
      // Whoever gets an answer of ours has proven who they are; a shared cache would hand it to those who have not.
      out.cacheScope = 'private';
    } else if (out.cacheScope === 'public' && mayBeOfExtension(method)) {
      out.cacheScope = 'private';
    }
    return out;
  },

  encodeError(_method, error) {
    return error.code === ErrorCode.legacyResourceNotFound
      ? { ...error, code: ErrorCode.invalidParams }
      : error;
  },

  encodeRequest(_method, params, envelope) {
    const meta: JsonObject = {
      ...(isObject(params._meta) ? params._meta : undefined),
      [Meta.protocolVersion]: envelope.revision,
      [Meta.clientInfo]: envelope.clientInfo,
      [Meta.clientCapabilities]: envelope.clientCapabilities,
    };
    if (envelope.logLevel !== undefined) meta[Meta.logLevel] = envelope.logLevel;
    if (envelope.progressToken !== undefined) meta.progressToken = envelope.progressToken;
    return { ...params, _meta: meta };
  },

  decodeResult(_method, result) {
    const type = result.resultType;
    // A server that leaves it out means a complete result (2026-07-28 basic/index#result-type).
    if (type === undefined || RESULT_TYPES.has(type)) return { ok: true, result };
    return { ok: false, reason: `unknown resultType ${JSON.stringify(type)}` };
  },

  decodeError: (_method, error) => error,
};
