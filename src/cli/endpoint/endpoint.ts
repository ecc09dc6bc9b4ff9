import {
  encodeHeaderValue,
  mirroredName,
  paramHeadersOf,
  paramHeaderValues,
} from '../../protocol/headers.ts';
import { ErrorCode, isObject, type JsonObject, type JsonRpcError } from '../../protocol/jsonrpc.ts';
import {
  type Era,
  isLegacyRevision,
  LATEST_LEGACY_REVISION,
  LEGACY_REVISIONS,
  Meta,
  MODERN_REVISION,
} from '../../protocol/revisions.ts';
import { packageVersion } from '../package-version.ts';
import { cleanLine } from '../terminal.ts';
import { type Channel, HttpChannel, SseChannel } from './channel.ts';
import { EndpointFault } from './endpoint-fault.ts';
import type { HttpTarget, Reply } from './http-exchange.ts';

export type ListedTool = { name: string; description?: string; inputSchema?: JsonObject };
export type WantedProtocol = 'auto' | Era;

const MAX_PAGES = 200;
const MAX_TOOLS = 20_000;
const MODERN_ERRORS: readonly number[] = [
  ErrorCode.headerMismatch,
  ErrorCode.missingClientCapability,
  ErrorCode.unsupportedProtocolVersion,
];

/** What an endpoint says about itself when the two sides have agreed on a revision. */
type Opening = {
  era: Era;
  revision: string;
  transport: 'streamable-http' | 'http+sse';
  server: { name: string; version: string } | undefined;
  capabilities: JsonObject;
};

/** An MCP endpoint as its client sees it, with one era's envelope around every request. */
export class Endpoint {
  readonly opening: Opening;
  readonly #channel: Channel;
  #lastId = 0;

  private constructor(channel: Channel, opening: Opening) {
    this.#channel = channel;
    this.opening = opening;
  }

  /**
   * Finds out which era the endpoint speaks, as 2026-07-28 basic/versioning#backward-compatibility says: modern
   * first; anything that is no recognised modern error leads to the legacy handshake, then to HTTP+SSE.
   */
  static async open(target: HttpTarget, wanted: WantedProtocol): Promise<Endpoint> {
    const channel = new HttpChannel(target);
    if (wanted !== 'legacy') {
      const seen = await discover(channel);
      if (seen.opening) return new Endpoint(channel, seen.opening);
      if (wanted === 'modern')
        throw new EndpointFault('transport', `it does not speak ${MODERN_REVISION}: ${seen.reason}`);
    }
    const seen = await initialize(channel, 'streamable-http');
    if (seen.opening) {
      channel.openSession(seen.session, seen.opening.revision);
      return Endpoint.#started(channel, seen.opening);
    }
    const old = [400, 404, 405].includes(seen.status) ? await SseChannel.open(target) : undefined;
    if (!old)
      throw new EndpointFault(
        'transport',
        `it does not speak MCP at ${target.url.href}: ${seen.reason}`,
        seen.status,
      );
    const opened = await initialize(old, 'http+sse');
    if (opened.opening) return Endpoint.#started(old, opened.opening);
    await old.close();
    throw new EndpointFault('transport', `its HTTP+SSE transport refuses the handshake: ${opened.reason}`);
  }

  static async #started(channel: Channel, opening: Opening): Promise<Endpoint> {
    await channel.notify({ jsonrpc: '2.0', method: 'notifications/initialized' }, {});
    return new Endpoint(channel, opening);
  }

  /** All tools over all pages. */
  async listTools(): Promise<ListedTool[]> {
    const tools: ListedTool[] = [];
    const seen = new Set<string>();
    let cursor: string | undefined;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const result = await this.#request('tools/list', cursor === undefined ? {} : { cursor }, {});
      if (!Array.isArray(result.tools))
        throw new EndpointFault('contract', 'tools/list answers without a `tools` array');
      for (const tool of result.tools) {
        if (!isObject(tool) || typeof tool.name !== 'string') {
          throw new EndpointFault('contract', 'tools/list has a tool without a name');
        }
        tools.push(tool as ListedTool);
      }
      if (tools.length > MAX_TOOLS)
        throw new EndpointFault('contract', `tools/list has more than ${MAX_TOOLS} tools`);
      if (typeof result.nextCursor !== 'string') return tools;
      if (seen.has(result.nextCursor))
        throw new EndpointFault('contract', 'tools/list repeats a cursor: its pages never end');
      cursor = result.nextCursor;
      seen.add(cursor);
    }
    throw new EndpointFault('contract', `tools/list has more than ${MAX_PAGES} pages`);
  }

  /** The tool's result; a result that says `isError` is returned, not thrown. */
  async callTool(tool: ListedTool, args: JsonObject): Promise<JsonObject> {
    let headers: Record<string, string> | undefined;
    if (this.opening.era === 'modern' && isObject(tool.inputSchema)) {
      const mirrored = paramHeadersOf(tool.inputSchema);
      if (!mirrored.ok) {
        throw new EndpointFault(
          'contract',
          `clients must drop the tool ${cleanLine(tool.name)}: ${mirrored.reason}`,
        );
      }
      headers = paramHeaderValues(mirrored.headers, args);
    }
    const result = await this.#request('tools/call', { name: tool.name, arguments: args }, headers ?? {});
    if (result.resultType === 'input_required') {
      throw new EndpointFault(
        'contract',
        `the tool ${cleanLine(tool.name)} asks its user for input, which a test cannot give`,
      );
    }
    return result;
  }

  async close(): Promise<void> {
    await this.#channel.close();
  }

  async #request(method: string, params: JsonObject, headers: Record<string, string>): Promise<JsonObject> {
    this.#lastId += 1;
    const modern = this.opening.era === 'modern';
    const sent = modern ? modernParams(params) : params;
    const reply = await this.#channel.request(
      { jsonrpc: '2.0', id: `t${this.#lastId}`, method, params: sent },
      modern ? { ...modernHeaders(method, params), ...headers } : headers,
    );
    if (!reply.answer) throw noAnswer(method, reply);
    if ('error' in reply.answer)
      throw new EndpointFault('contract', `${method}: ${errorText(reply.answer.error)}`);
    return reply.answer.result;
  }
}

function modernParams(params: JsonObject): JsonObject {
  const meta = {
    [Meta.protocolVersion]: MODERN_REVISION,
    [Meta.clientCapabilities]: {},
    [Meta.clientInfo]: clientInfo(),
  };
  return { ...params, _meta: meta };
}

function modernHeaders(method: string, params: JsonObject): Record<string, string> {
  const name = mirroredName(method, params);
  return {
    'mcp-protocol-version': MODERN_REVISION,
    'mcp-method': method,
    ...(name === undefined ? {} : { 'mcp-name': encodeHeaderValue(name) }),
  };
}

const clientInfo = () => ({ name: 'castellan-test', version: packageVersion() });

type Seen =
  | { opening: Opening; session?: string | undefined }
  | { opening?: undefined; reason: string; status: number };

async function discover(channel: Channel): Promise<Seen> {
  const method = 'server/discover';
  const reply = await channel.request(
    { jsonrpc: '2.0', id: 'discover', method, params: modernParams({}) },
    modernHeaders(method, {}),
  );
  const { answer, status } = reply;
  if (!answer) return { status, reason: plainReason(reply) };
  if ('error' in answer) {
    const { error } = answer;
    const supported = isObject(error.data) && Array.isArray(error.data.supported) ? error.data.supported : [];
    if (!MODERN_ERRORS.includes(error.code) || supported.some((one) => isLegacyRevision(String(one)))) {
      return { status, reason: errorText(error) };
    }
    throw new EndpointFault(
      'transport',
      `it speaks a modern revision, but refuses ${MODERN_REVISION}: ${errorText(error)}`,
    );
  }
  const { result } = answer;
  const versions = Array.isArray(result.supportedVersions) ? result.supportedVersions : [];
  if (!versions.includes(MODERN_REVISION)) {
    return { status, reason: `it supports ${cleanLine(versions.join(', ')) || 'no revision that it names'}` };
  }
  const meta = isObject(result._meta) ? result._meta : {};
  const opening: Opening = {
    era: 'modern',
    revision: MODERN_REVISION,
    transport: 'streamable-http',
    server: implementation(meta[Meta.serverInfo]),
    capabilities: isObject(result.capabilities) ? result.capabilities : {},
  };
  return { opening };
}

async function initialize(channel: Channel, transport: Opening['transport']): Promise<Seen> {
  const params = { protocolVersion: LATEST_LEGACY_REVISION, capabilities: {}, clientInfo: clientInfo() };
  const reply = await channel.request({ jsonrpc: '2.0', id: 'initialize', method: 'initialize', params }, {});
  const { answer, status } = reply;
  if (!answer) return { status, reason: plainReason(reply) };
  if ('error' in answer) return { status, reason: errorText(answer.error) };
  const revision = String(answer.result.protocolVersion);
  if (!isLegacyRevision(revision)) {
    throw new EndpointFault(
      'transport',
      `it answers initialize with revision ${cleanLine(revision, 40)}; known are ${LEGACY_REVISIONS.join(', ')}`,
    );
  }
  const opening: Opening = {
    era: 'legacy',
    revision,
    transport,
    server: implementation(answer.result.serverInfo),
    capabilities: isObject(answer.result.capabilities) ? answer.result.capabilities : {},
  };
  return { opening, session: reply.headers.get('mcp-session-id') ?? undefined };
}

function implementation(value: unknown): { name: string; version: string } | undefined {
  if (!isObject(value) || typeof value.name !== 'string') return undefined;
  return { name: cleanLine(value.name, 100), version: cleanLine(String(value.version ?? ''), 60) };
}

function plainReason(reply: Reply): string {
  const what = `HTTP ${reply.status}`;
  return reply.text ? `${what}: ${reply.text}` : `${what} without a JSON-RPC answer`;
}

function noAnswer(method: string, reply: Reply): EndpointFault {
  return new EndpointFault('transport', `${method}: ${plainReason(reply)}`, reply.status);
}

function errorText(error: JsonRpcError): string {
  return `JSON-RPC error ${error.code}: ${cleanLine(error.message, 300)}`;
}
