import type { JsonObject } from '../protocol/jsonrpc.ts';
import type { NeutralOutcome } from '../protocol/model.ts';
import { BUILTIN_TOOLSETS } from '../resources/builtin-toolsets.ts';
import type { ServerSpec } from '../resources/spec.ts';
import type { BuiltinOffer } from '../upstream/builtin-server.ts';
import { invalidParams } from './refusals.ts';
import type { GatewayRequest } from './scope.ts';
import { definitionOf, type Toolset } from './toolset.ts';
import { argumentFault, resultOf } from './toolset-answers.ts';

/** The built-in toolsets of this process, each ready to be served by any server that names it. */
export class Toolsets {
  readonly #toolsets: ReadonlyMap<string, Toolset>;

  /** @throws when a tool is on no surface, or on both */
  constructor(toolsets: readonly Toolset[]) {
    for (const toolset of toolsets) refuseMisplaced(toolset);
    this.#toolsets = new Map(toolsets.map((toolset) => [toolset.name, toolset]));
  }

  /** What a server with this toolset offers; undefined where this process has none of that name. */
  offer(name: string): BuiltinOffer | undefined {
    const toolset = this.#toolsets.get(name);
    if (!toolset) return undefined;
    const { instructions, tools, resources } = toolset;
    return {
      instructions,
      tools: tools.map((tool) => ({ name: tool.name, definition: definitionOf(tool), paramHeaders: [] })),
      templates: resources?.templates ?? [],
    };
  }

  /** The toolset behind a server; undefined for one that is elsewhere. */
  of({ target }: ServerSpec): Toolset | undefined {
    return target.type === 'builtin' ? this.#toolsets.get(target.toolset) : undefined;
  }

  /** The answer to a request that has passed everything which may stop it. */
  serve(toolset: Toolset, from: GatewayRequest, params: JsonObject): Promise<NeutralOutcome> {
    switch (from.request.method) {
      case 'tools/call':
        return this.#call(toolset, from, params);
      case 'resources/read':
        return this.#read(toolset, from, params);
      default:
        return Promise.resolve(invalidParams(`${toolset.name} has nothing for ${from.request.method}`));
    }
  }

  async #call(
    toolset: Toolset,
    { caller, scope, cancellation, record }: GatewayRequest,
    params: JsonObject,
  ): Promise<NeutralOutcome> {
    const tool = toolset.tools.find(({ name }) => name === params.name);
    if (!tool) throw new Error(`${toolset.name} lists a tool that it does not have`);
    const given = params.arguments ?? {};
    const parsed = tool.input.safeParse(given);
    const call = { caller, scope, cancellation, intent: record?.intent };
    const answer = parsed.success
      ? await tool.run(parsed.data as JsonObject, call)
      : argumentFault(tool, given);
    if (!answer.ok) record?.undone();
    return { ok: true, result: resultOf(answer, true) };
  }

  async #read(
    { resources }: Toolset,
    { caller, scope }: GatewayRequest,
    { uri }: JsonObject,
  ): Promise<NeutralOutcome> {
    const contents = await resources?.read({ caller, scope }, String(uri));
    return contents
      ? { ok: true, result: { contents } }
      : invalidParams(`Resource not found: ${String(uri).slice(0, 512)}`, { uri });
  }
}

function refuseMisplaced({ name, tools }: Toolset): void {
  for (const tool of tools) {
    const surfaces = new Set(
      [...BUILTIN_TOOLSETS.values()].flatMap((one) => (one.tools.includes(tool.name) ? one.surface : [])),
    );
    if (surfaces.size === 1 && BUILTIN_TOOLSETS.get(name)?.tools.includes(tool.name)) continue;
    const where = surfaces.size > 1 ? 'both surfaces' : 'no surface';
    throw new Error(`tool ${tool.name} of the toolset ${name} is on ${where}`);
  }
}
