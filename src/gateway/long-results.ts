import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import { takesResourceLinks } from '../protocol/revisions.ts';
import type { OWN_TOOLS } from '../resources/builtin-toolsets.ts';
import type { ServerSpec } from '../resources/spec.ts';
import type { KeptResult, KeptResults } from '../results/kept-results.ts';
import type { ResultShape } from '../results/result-rules.ts';
import { sectionsOf } from '../results/sections.ts';
import { projected, readable } from '../results/shaping.ts';
import { UpstreamFault } from '../upstream/transport.ts';
import { asToolResult, invalidParams, refusalOf } from './refusals.ts';
import { type CallerOnSurface, callerContext, exposureOf, type GatewayRequest, type Scope } from './scope.ts';
import type { GatewayOutcome } from './tool-call.ts';
import type { ToolsetAnswer } from './toolset.ts';

/** Where a result says that it is the first part of a longer one. */
const RESULT_META = 'castellan/result';
const SCHEME = 'castellan-result://';
type OwnName = (typeof OWN_TOOLS)[number];
const READ_RESULT: OwnName = 'read_result';
const MCP: OwnName = 'mcp';

/** A tool whose results do not go to the model as they come. */
export type ShapedTool = { canonical: string; server: string; shape: ResultShape };

/** What a result says of the caller's side: who gets it, and whether its revision knows links to resources. */
type Reader = CallerOnSurface & { revision: string };

/** Whether results of a surface may be kept, and so read in parts. */
export function keepsResults({ project }: Scope, servers: readonly ServerSpec[]): boolean {
  const ofServers = () => servers.some(({ tools }) => tools.results.some((rule) => rule.maxBytes));
  return project.spec.results.maxBytes !== undefined || ofServers();
}

/** Results on their way to the model: projected, cut to what fits, the rest kept for whoever made the call. */
export class LongResults {
  readonly #kept: KeptResults;

  constructor(kept: KeptResults) {
    this.#kept = kept;
  }

  /** The outcome of a call, a task's or an approved one's included, as its caller gets it. */
  async shaped(from: GatewayRequest, tool: ShapedTool, outcome: GatewayOutcome): Promise<GatewayOutcome> {
    if (!outcome.ok || !isComplete(outcome.result)) return outcome;
    const reader = { ...from, revision: from.request.envelope.revision };
    const result = await this.result(reader, tool, outcome.result);
    return result === outcome.result ? outcome : { ...outcome, result };
  }

  /** The same of a result alone; the very same object where nothing had to change. */
  async result(reader: Reader, tool: ShapedTool, whole: JsonObject): Promise<JsonObject> {
    try {
      const { result, notes } = projected(whole, tool.shape);
      const fitting = await this.#fitting(reader, tool, result);
      return notes.length === 0 ? fitting : withNotes(fitting, notes);
    } catch (error) {
      // JSON that is nested too deeply can be read, and not written.
      if (!(error instanceof RangeError)) throw error;
      const why = 'it is nested too deeply, or too long, to be shortened';
      const fault = new UpstreamFault('too_large', why, { sent: true });
      return asToolResult(refusalOf(fault, tool.server), false);
    }
  }

  /** Whether a resource is a kept result, whoever's it is. */
  owns(uri: string): boolean {
    return uri.startsWith(SCHEME);
  }

  async readResource(from: GatewayRequest, uri: string): Promise<GatewayOutcome> {
    const found = this.#find(from, uri.slice(SCHEME.length));
    const text = found && (await this.#kept.read(found));
    if (text === undefined)
      return invalidParams(`Resource not found: ${uri.slice(0, 512)}. ${GONE}`, { uri });
    from.record?.answeredHere();
    return { ok: true, result: { contents: [{ uri, mimeType: 'text/plain', text }] } };
  }

  /** One part of a kept result, counted from 1, with a sentence on what to call next. */
  async section(from: CallerOnSurface, id: string, section: number): Promise<ToolsetAnswer> {
    const found = this.#find(from, id);
    if (found && section > found.sections) {
      const message = `This result has the sections 1 to ${found.sections}: call again with one of these.`;
      return { ok: false, code: 'INVALID_ARGUMENT', message, field: 'section' };
    }
    const text = found && (await this.#kept.read(found, section));
    if (found && text !== undefined) return { ok: true, texts: [text, partNote(from.scope, found, section)] };
    const message = `There is no kept result of this id for this caller. ${GONE}`;
    return { ok: false, code: 'NOT_FOUND', message, field: 'id' };
  }

  async #fitting(reader: Reader, tool: ShapedTool, result: JsonObject): Promise<JsonObject> {
    const { maxBytes } = tool.shape;
    if (maxBytes === undefined) return result;
    const { text, others } = readable(result);
    const bytes = Buffer.byteLength(text);
    if (bytes <= maxBytes) return result;
    const sections = sectionsOf(text, maxBytes);
    const owner = callerContext(reader);
    const kept = await this.#kept.keep({ owner, tool: tool.canonical, sections, bytes });
    const part = { sections: sections.length, section: 1, bytes, ...(kept && place(kept)) };
    const link = kept && takesResourceLinks(reader.revision) ? [linkTo(kept)] : [];
    const { structuredContent, _meta, ...rest } = result;
    return {
      ...rest,
      content: [
        textBlock(sections[0]!),
        ...others,
        ...link,
        textBlock(kept ? partNote(reader.scope, kept, 1) : lostNote(tool, sections.length, bytes)),
      ],
      // Whole or not there: half of it is of no use to a program.
      ...(fits(structuredContent, maxBytes) && { structuredContent }),
      _meta: { ...(isObject(_meta) ? _meta : {}), [RESULT_META]: part },
    };
  }

  /** Whoever lost the right to the tool has lost its results. */
  #find(from: CallerOnSurface, id: string): KeptResult | undefined {
    const found = this.#kept.find(callerContext(from), id);
    return found && from.scope.rights.runs(found.tool) ? found : undefined;
  }
}

const GONE =
  'Long results are kept for an hour, by the process that made the call, for its caller alone. Call the tool again.';

function isComplete({ resultType }: JsonObject): boolean {
  return resultType === undefined || resultType === 'complete';
}

function fits(structured: unknown, maxBytes: number): boolean {
  return structured !== undefined && Buffer.byteLength(JSON.stringify(structured)) <= maxBytes;
}

function textBlock(text: string): JsonObject {
  return { type: 'text', text };
}

function withNotes(result: JsonObject, notes: readonly string[]): JsonObject {
  const content = Array.isArray(result.content) ? result.content : [];
  return { ...result, content: [...content, ...notes.map(textBlock)] };
}

function place({ id, expiresAt }: KeptResult): JsonObject {
  return { id, expiresAt: new Date(expiresAt).toISOString() };
}

function linkTo({ id, tool, bytes }: KeptResult): JsonObject {
  const description = `The whole result of ${tool}, for the caller alone and for an hour`;
  return {
    type: 'resource_link',
    uri: SCHEME + id,
    name: id,
    description,
    mimeType: 'text/plain',
    size: bytes,
  };
}

function partNote(
  scope: Scope,
  { id, tool, sections, bytes, expiresAt }: KeptResult,
  section: number,
): string {
  const which = `This is part ${section} of ${sections} of the result of ${tool} (${bytes} bytes).`;
  if (section === sections) return `${which} It is the last one.`;
  const next = nextCall(scope, { id, section: section + 1 });
  const until = new Date(expiresAt).toISOString();
  return `${which} For the next one call ${next}. All parts are kept until ${until}.`;
}

/** A surface that lists none of its tools by itself has them behind another one. */
function nextCall(scope: Scope, args: JsonObject): string {
  if (exposureOf(scope) === 'full') return `${READ_RESULT} with ${JSON.stringify(args)}`;
  return `${MCP} with ${JSON.stringify({ action: 'call', tool: READ_RESULT, arguments: args })}`;
}

function lostNote({ canonical }: ShapedTool, sections: number, bytes: number): string {
  const which = `This is part 1 of ${sections} of the result of ${canonical} (${bytes} bytes).`;
  return `${which} The call was made; the other parts could not be kept here and are lost. Ask for less at a time.`;
}
