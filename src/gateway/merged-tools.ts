import { anyGlobMatches } from '../base/glob.ts';
import { withHiddenShown } from '../base/hidden-characters.ts';
import type { Unaccepted } from '../pins/pinned.ts';
import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import { canonicalName, exposedName, exposedNameLimit, MAX_NAME } from '../protocol/names.ts';
import { OWN_TOOLS } from '../resources/builtin-toolsets.ts';
import type { ServerSpec } from '../resources/spec.ts';
import { type ResultShape, resultShape } from '../results/result-rules.ts';
import type { UpstreamTool } from '../upstream/listing.ts';
import type { LeftOut } from './left-out.ts';
import { clashes, withPrefix } from './name-prefixes.ts';
import type { Scope } from './scope.ts';
import { taskSupportOf } from './tasks/course.ts';
import type { Hidden, ReadPart, ViewPart, ViewTool } from './view.ts';

const RESERVED: ReadonlySet<string> = new Set(OWN_TOOLS);

/** What a held tool waits for, to whoever would use it. */
export function waitingText(why: Unaccepted | undefined): string {
  return why === 'changed'
    ? 'its definition is not the one that was accepted for this project, and waits for somebody to accept it'
    : 'it is new in this project, and waits for somebody to accept it';
}

/** The tools of the servers of a surface, under the names that callers know them by. */
export class MergedTools {
  readonly tools = new Map<string, ViewTool>();
  /** Tools that wait for somebody to accept their definition. */
  readonly held = new Map<string, ViewTool>();
  readonly #scope: Scope;
  readonly #hidden: Hidden;
  readonly #clashes: ReadonlySet<string>;
  readonly #builtin: ReadonlyMap<string, string>;
  /** Servers that nobody has read yet, by their place in the project's order. */
  readonly #unread: readonly { at: number; spec: ServerSpec }[];

  constructor(scope: Scope, parts: readonly ViewPart[], hidden: Hidden) {
    this.#scope = scope;
    this.#hidden = hidden;
    this.#clashes = new Set([...clashes(parts, toolNames), ...OWN_TOOLS]);
    this.#builtin = builtinNames(parts);
    this.#unread = parts.flatMap(({ spec, listing }, at) => (spec && !listing ? [{ at, spec }] : []));
  }

  /** @param at the part's place in the project's order: of two tools with one name the first counts */
  add(part: ReadPart, at: number, leftOut: LeftOut, heldBack: LeftOut): void {
    for (const tool of part.listing.tools) {
      if (!isOffered(tool.name, part.spec)) continue;
      const canonical = canonicalName(part.server, tool.name);
      if (!this.#scope.rights.runs(canonical) || this.#hidden.tool(canonical)) continue;
      const named = this.#nameOf(part, at, tool.name, canonical);
      if ('owner' in named) {
        leftOut.add(`tool ${tool.name}`, `the name ${named.exposed} is that of a tool of ${named.owner}`);
        continue;
      }
      const shown = this.#shown(part, tool, { ...named, canonical });
      const isHeld = this.#holds(shown);
      if (isHeld) heldBack.add(`tool ${withHiddenShown(tool.name)}`, waitingText(shown.unaccepted));
      (isHeld ? this.held : this.tools).set(shown.exposed, shown);
    }
  }

  /** `owner`: whose tool has the name already. */
  #nameOf(
    { server, spec }: ReadPart,
    at: number,
    name: string,
    canonical: string,
  ): { exposed: string; provisional: boolean } | { exposed: string; owner: string } {
    // Whoever wants the names as the server has them gets them, up to what the protocol allows.
    const limit = spec.prefix === 'never' ? MAX_NAME : exposedNameLimit(this.#scope.project.name);
    const own = overrideOf(name, spec)?.name ?? name;
    const wanted = withPrefix(server, own, spec.prefix, this.#clashes);
    const exposed = exposedName(wanted, canonical, limit);
    const claim = this.tools.get(exposed) ?? changedOne(this.held.get(exposed));
    const owner = claim?.server ?? (isBuiltin(spec) ? undefined : this.#builtin.get(exposed));
    if (owner !== undefined || RESERVED.has(exposed)) return { exposed, owner: owner ?? 'Castellan' };
    const provisional =
      wanted === own &&
      this.#unread.some(
        (one) => one.spec.prefix !== 'always' && (one.at < at || spec.prefix === 'conditional'),
      );
    return { exposed, provisional };
  }

  #shown(
    { server, spec, listing, unaccepted }: ReadPart,
    tool: UpstreamTool,
    named: Pick<ViewTool, 'exposed' | 'canonical' | 'provisional'>,
  ): ViewTool {
    const shape = resultShape(spec.tools.results, tool.name, this.#scope.project.spec.results.maxBytes);
    const { description } = overrideOf(tool.name, spec) ?? {};
    const { era, capabilities } = listing.peer;
    return {
      ...named,
      server,
      tool,
      definition: exposedDefinition(tool.definition, named.exposed, description, shape),
      readOnly: anyGlobMatches(spec.tools.readOnly, tool.name) || (isBuiltin(spec) && saysReadOnly(tool)),
      taskSupport: taskSupportOf(tool.definition, era, capabilities),
      shape,
      unaccepted: unaccepted.get(tool.name),
    };
  }

  #holds({ unaccepted }: ViewTool): boolean {
    return (
      unaccepted === 'new' || (unaccepted === 'changed' && this.#scope.project.spec.changedTools !== 'warn')
    );
  }
}

function isOffered(name: string, spec: ServerSpec): boolean {
  return anyGlobMatches(spec.tools.allow, name) && !anyGlobMatches(spec.tools.deny, name);
}

/** A server may call a tool `constructor`, which every object has. */
function overrideOf(
  name: string,
  { tools }: ServerSpec,
): { name?: string; description?: string } | undefined {
  return Object.hasOwn(tools.override, name) ? tools.override[name] : undefined;
}

function toolNames({ spec, listing, unaccepted }: ViewPart): string[] {
  if (!spec || !listing) return [];
  return (
    listing.tools
      // What nobody has accepted yet changes no other tool's name.
      .filter((tool) => isOffered(tool.name, spec) && unaccepted.get(tool.name) !== 'new')
      .map((tool) => overrideOf(tool.name, spec)?.name ?? tool.name)
  );
}

/** A tool keeps its name while its new definition waits: nobody else's is called in its place. */
function changedOne(held: ViewTool | undefined): ViewTool | undefined {
  return held?.unaccepted === 'changed' ? held : undefined;
}

function isBuiltin({ target }: ServerSpec): boolean {
  return target.type === 'builtin';
}

/** Only our own tools are believed what they say of themselves. */
function saysReadOnly({ definition: { annotations } }: UpstreamTool): boolean {
  return isObject(annotations) && annotations.readOnlyHint === true;
}

/** Names of built-in tools, which no other server's tool may take, and the server of each. */
function builtinNames(parts: readonly ViewPart[]): ReadonlyMap<string, string> {
  const own = parts.filter(({ spec }) => spec && isBuiltin(spec));
  return new Map(own.flatMap((part) => toolNames(part).map((name) => [name, part.server] as const)));
}

function exposedDefinition(
  definition: JsonObject,
  name: string,
  description: string | undefined,
  shape: ResultShape | undefined,
): JsonObject {
  const exposed: JsonObject = { ...definition, name };
  // Clients refuse structured content that is not what the schema says, and a result without any.
  if (shape) delete exposed.outputSchema;
  if (description !== undefined) exposed.description = description;
  // Only clients that call tools as tasks may be told that this one can be.
  if (isObject(exposed.execution) && 'taskSupport' in exposed.execution) {
    const { taskSupport: _, ...execution } = exposed.execution;
    if (Object.keys(execution).length > 0) exposed.execution = execution;
    else delete exposed.execution;
  }
  return exposed;
}
