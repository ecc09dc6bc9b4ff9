import { ErrorCode, isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import type { Circle } from '../upstream/circle.ts';
import type { Upstreams } from '../upstream/upstreams.ts';
import type { LongResults } from './long-results.ts';
import { invalidParams } from './refusals.ts';
import { type GatewayRequest, type Scope, serversOf } from './scope.ts';
import type { GatewayOutcome } from './tool-call.ts';
import type { View } from './view.ts';
import type { Views } from './views.ts';

/** Sends a request, in the server's own names, to the server that it belongs to. */
export type Relay = (from: GatewayRequest, server: string, params: JsonObject) => Promise<GatewayOutcome>;

const MAX_QUOTED = 512;
/** What a server that completes nothing would say. */
const NOTHING: GatewayOutcome = {
  ok: true,
  result: { completion: { values: [], total: 0, hasMore: false } },
};

/** Prompts, resources and their completions: finds the server that an entry belongs to and asks it. */
export class OwnedEntries {
  private readonly views: Views;
  private readonly upstreams: Upstreams;
  private readonly results: LongResults;
  private readonly relay: Relay;

  constructor(views: Views, upstreams: Upstreams, results: LongResults, relay: Relay) {
    this.results = results;
    this.views = views;
    this.upstreams = upstreams;
    this.relay = relay;
  }

  async getPrompt(from: GatewayRequest): Promise<GatewayOutcome> {
    const { name } = from.request.params;
    if (typeof name !== 'string') return invalidParams('params.name must be the name of a prompt');
    const view = await this.views.complete(from.scope, from.circle);
    const prompt = view.prompts.get(name);
    if (!prompt) return unknownPrompt(name);
    return this.relay(from, prompt.server, { ...from.request.params, name: prompt.name });
  }

  async readResource(from: GatewayRequest): Promise<GatewayOutcome> {
    const { uri } = from.request.params;
    if (typeof uri !== 'string') return invalidParams('params.uri must be the URI of a resource');
    if (this.results.owns(uri)) return this.results.readResource(from, uri);
    const owners = await this.ownersOf(from.scope, from.circle, uri);
    const answer = await this.firstOf(owners, from);
    return answer ?? invalidParams(`Resource not found: ${uri.slice(0, MAX_QUOTED)}`, { uri });
  }

  async complete(from: GatewayRequest): Promise<GatewayOutcome> {
    const { ref } = from.request.params;
    if (!isObject(ref)) return invalidParams('params.ref must be an object');
    const view = await this.views.complete(from.scope, from.circle);
    if (ref.type === 'ref/prompt' && typeof ref.name === 'string') {
      const prompt = view.prompts.get(ref.name);
      if (!prompt) return unknownPrompt(ref.name);
      if (!this.has(prompt.server, from.circle, 'completions')) return NOTHING;
      return this.relay(from, prompt.server, { ...from.request.params, ref: { ...ref, name: prompt.name } });
    }
    if (ref.type === 'ref/resource' && typeof ref.uri === 'string') {
      const { uri } = ref;
      const template = view.templates.find(({ text }) => text === uri)?.server;
      const owners = template === undefined ? this.ownersIn(view, from.scope, from.circle, uri) : [template];
      const known = template !== undefined || view.resources.has(uri);
      const able = owners.filter((server) => this.has(server, from.circle, 'completions'));
      if (known && able.length === 0) return NOTHING;
      const answer = await this.firstOf(able, from);
      return answer ?? invalidParams(`Unknown resource template: ${uri.slice(0, MAX_QUOTED)}`);
    }
    return invalidParams('params.ref.type must be ref/prompt or ref/resource');
  }

  async ownersOf(scope: Scope, circle: Circle, uri: string): Promise<string[]> {
    return this.ownersIn(await this.views.complete(scope, circle), scope, circle, uri);
  }

  /** The server that lists the URI, else those whose template fits it, else every one that has resources at all. */
  private ownersIn(view: View, scope: Scope, circle: Circle, uri: string): string[] {
    if (this.results.owns(uri)) return [];
    const owner = view.resources.get(uri);
    if (owner !== undefined) return [owner];
    const fitting = new Set(
      view.templates.filter(({ template }) => template?.matches(uri)).map((one) => one.server),
    );
    if (fitting.size > 0) return [...fitting];
    return serversOf(scope).filter(
      (server) => this.views.shows(scope, server) && this.has(server, circle, 'resources'),
    );
  }

  /** The answer of the first that knows what was asked for; undefined when none of several, or nobody, does. */
  private async firstOf(
    servers: readonly string[],
    from: GatewayRequest,
  ): Promise<GatewayOutcome | undefined> {
    let last: GatewayOutcome | undefined;
    for (const server of servers) {
      last = await this.relay(from, server, from.request.params);
      if (last.ok) return forThisRequest(from, last);
      // A server that lists nothing may still know the URI; one that says no leaves the question to the next.
      if (last.error.code !== ErrorCode.invalidParams) return last;
    }
    return servers.length === 1 ? last : undefined;
  }

  private has(server: string, circle: Circle, capability: string): boolean {
    const listing = this.upstreams.get(server)?.catalogue(circle).peekQuietly();
    return isObject(listing?.peer.capabilities[capability]);
  }
}

function unknownPrompt(name: string): GatewayOutcome {
  return invalidParams(`Unknown prompt: ${name.slice(0, 128)}`);
}

/** What was read with answers of the client depends on them, and must not be kept for who asks without. */
function forThisRequest(
  { request: { params } }: GatewayRequest,
  outcome: GatewayOutcome & { ok: true },
): GatewayOutcome {
  const answered = params.inputResponses !== undefined || params.requestState !== undefined;
  return answered && 'ttlMs' in outcome.result
    ? { ok: true, result: { ...outcome.result, ttlMs: 0 } }
    : outcome;
}
