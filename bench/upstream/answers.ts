import { type Era, META_SERVER, type Message, VERSION } from '../era.ts';

/** Bytes of text that one `tools/call` result carries besides the echoed message. */
export const RESULT_TEXT_BYTES = 1024;

const FILLER = 'The quick brown fox jumps over the lazy dog. '.repeat(30).slice(0, RESULT_TEXT_BYTES);
const SERVER_INFO = { name: 'bench-upstream', version: '1.0.0' };
const CAPABILITIES = { tools: {} };

/** A JSON-RPC answer and the HTTP status that goes with it; stdio ignores the status. */
export type Answer = { status: number; message: object };

/** Answers one request of a server that speaks `era` alone and has the echo tool plus `toolCount - 1` more. */
export function createAnswers(era: Era, toolCount: number): (request: Message) => Answer {
  const tools = Array.from({ length: toolCount }, (_, index) => describeTool(index));
  const results = era === 'legacy' ? legacyResults(tools) : modernResults(tools);
  return (request) => {
    const result = results[request.method ?? '']?.(request);
    if (result !== undefined) return { status: 200, message: { jsonrpc: '2.0', id: request.id, result } };
    return refuse(era, request);
  };
}

type Results = Record<string, (request: Message) => object>;

function legacyResults(tools: object[]): Results {
  return {
    initialize: () => ({
      protocolVersion: VERSION.legacy,
      capabilities: CAPABILITIES,
      serverInfo: SERVER_INFO,
    }),
    ping: () => ({}),
    'tools/list': () => ({ tools }),
    'tools/call': (request) => ({ content: echo(request.params?.arguments?.message) }),
  };
}

function modernResults(tools: object[]): Results {
  const complete = { resultType: 'complete', _meta: { [META_SERVER]: SERVER_INFO } };
  const cacheable = { ...complete, ttlMs: 300_000, cacheScope: 'public' };
  return {
    'server/discover': () => ({
      ...cacheable,
      supportedVersions: [VERSION.modern],
      capabilities: CAPABILITIES,
    }),
    'tools/list': () => ({ ...cacheable, tools }),
    'tools/call': (request) => ({ ...complete, content: echo(request.params?.arguments?.message) }),
  };
}

export function echo(message: unknown): { type: 'text'; text: string }[] {
  return [{ type: 'text', text: `${message} ${FILLER}` }];
}

/** A dual-era client reads the other era's opening as: legacy answers a plain 400, modern names its versions. */
function refuse(era: Era, request: Message): Answer {
  const opening = request.method === 'initialize' || request.method === 'server/discover';
  const error = opening
    ? era === 'legacy'
      ? { code: -32600, message: 'Bad Request: not initialized' }
      : {
          code: -32022,
          message: 'Unsupported protocol version',
          data: { supported: [VERSION.modern], requested: request.params?.protocolVersion ?? 'none' },
        }
    : { code: -32601, message: `Method not found: ${request.method}` };
  return {
    status: opening || era === 'legacy' ? 400 : 404,
    message: { jsonrpc: '2.0', id: request.id, error },
  };
}

/** About 520 bytes of schema, the size of a middling real tool. */
function describeTool(index: number): object {
  const number = String(index).padStart(3, '0');
  return {
    name: index === 0 ? 'echo' : `tool_${number}`,
    description: `Tool ${number} of the benchmark: looks up a record by key and returns the fields asked for.`,
    inputSchema: {
      type: 'object',
      properties: {
        message: { type: 'string', description: 'Text that comes back in the result.' },
        limit: { type: 'integer', minimum: 1, maximum: 100, description: 'How many records to return.' },
        fields: { type: 'array', items: { type: 'string' }, description: 'Names of the fields to return.' },
      },
      required: ['message'],
      additionalProperties: false,
    },
  };
}
