import { anyGlobMatches } from '../base/glob.ts';
import { withHiddenShown } from '../base/hidden-characters.ts';
import type { Unaccepted } from '../pins/pinned.ts';
import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import { canonicalName, exposedName, exposedNameLimit, MAX_NAME } from '../protocol/names.ts';
import { type UriTemplate, uriTemplate } from '../protocol/uri-template.ts';
import { OWN_TOOLS } from '../resources/builtin-toolsets.ts';
import type { PrefixMode, ProjectSpec, ServerSpec } from '../resources/spec.ts';
import { type ResultShape, resultShape } from '../results/result-rules.ts';
import type { Listing, UpstreamTool } from '../upstream/listing.ts';
import { LeftOut } from './left-out.ts';
import type { OwnTool } from './own/own-tool.ts';
import { exposureOf, type Scope } from './scope.ts';
import { type TaskSupport, taskSupportOf } from './tasks/course.ts';

/** One server's part in a view: its configuration, and what it offers if that is known. */
export type ViewPart = {
  server: string;
  spec: ServerSpec | undefined;
  listing: Listing | undefined;
  /** By the name that the server gives it: a tool whose definition the project has not accepted. */
  unaccepted: ReadonlyMap<string, Unaccepted>;
  /** Why the part is missing or old. */
  fault: string | undefined;
};

export type ViewTool = {
  exposed: string;
  canonical: string;
  server: string;
  tool: UpstreamTool;
  definition: JsonObject;
  readOnly: boolean;
  taskSupport: TaskSupport;
  /** What becomes of its results; undefined: they go to the caller as they come. */
  shape: ResultShape | undefined;
  /** A server that nobody has read yet may have an older claim to the name. */
  provisional: boolean;
  /** Its definition is not the accepted one. */
  unaccepted: Unaccepted | undefined;
};

export type ViewPrompt = { server: string; name: string };
/** `template` is missing where its text is not one that URIs can be compared with. */
export type ViewTemplate = { server: string; text: string; template: UriTemplate | undefined };
export type Degraded = { server: string; reason: string };

/** What one surface of one project shows to one circle: names resolved, lists ready to be sent. */
export type View = {
  tools: ReadonlyMap<string, ViewTool>;
  /** Castellan's own, listed or not. */
  own: ReadonlyMap<string, OwnTool>;
  /** Tools that are neither listed nor called before somebody accepts their definition. */
  held: ReadonlyMap<string, ViewTool>;
  prompts: ReadonlyMap<string, ViewPrompt>;
  resources: ReadonlyMap<string, string>;
  /** In the order of the servers; a template that several have stands here for each of them. */
  templates: readonly ViewTemplate[];
  lists: {
    readonly tools: JsonObject;
    /** The same for clients that may call tools as tasks; the same object when there is none to be called so. */
    readonly toolsWithTasks: JsonObject;
    readonly prompts: JsonObject;
    readonly resources: JsonObject;
    readonly templates: JsonObject;
  };
  degraded: readonly Degraded[];
  /** Servers whose lists nobody has read yet. */
  unread: readonly string[];
  /** What is shown once a task has begun; undefined where that makes no difference. */
  begun?: View;
};

export type ListName = keyof View['lists'];

/** The member that holds the items of a list. */
export const LIST_KEYS: { readonly [list in ListName]: string } = {
  tools: 'tools',
  toolsWithTasks: 'tools',
  prompts: 'prompts',
  resources: 'resources',
  templates: 'resourceTemplates',
};

export function itemsOf({ lists }: View, list: ListName): readonly JsonObject[] {
  return lists[list][LIST_KEYS[list]] as readonly JsonObject[];
}

const RESERVED: ReadonlySet<string> = new Set(OWN_TOOLS);
const ALL_HELD =
  'The tools of this surface wait for somebody who runs the project to accept their definitions.';

/** What a held tool waits for, to whoever would use it. */
export function waitingText(why: Unaccepted | undefined): string {
  return why === 'changed'
    ? 'its definition is not the one that was accepted for this project, and waits for somebody to accept it'
    : 'it is new in this project, and waits for somebody to accept it';
}

export const DEGRADED_META = 'castellan/degraded';
export const NOTICE_META = 'castellan/notice';

/** Whether policies keep a tool, by its canonical name, from everybody, or the prompts and resources of a server. */
export type Hidden = { tool(canonical: string): boolean; server(name: string): boolean };

/**
 * Merges what the servers offer and the rights allow. Pure: the same parts give the same view, in the order the project
 * names them.
 */
export function buildView(
  scope: Scope,
  parts: readonly ViewPart[],
  hidden: Hidden,
  ownTools: readonly OwnTool[],
): View {
  const { project, rights } = scope;
  const degraded: Degraded[] = [];
  const shortLimit = exposedNameLimit(project.name);
  const tools = new Map<string, ViewTool>();
  const held = new Map<string, ViewTool>();
  const prompts = new Map<string, ViewPrompt>();
  const resources = new Map<string, string>();
  const templates: ViewTemplate[] = [];
  const templateOwners = new Map<string, string>();
  const promptList: JsonObject[] = [];
  const resourceList: JsonObject[] = [];
  const templateList: JsonObject[] = [];
  const leftOuts: LeftOut[] = [];
  const heldBack: LeftOut[] = [];
  const toolClashes = new Set([...clashes(parts, toolNames), ...OWN_TOOLS]);
  const builtin = builtinNames(parts);
  const promptClashes = clashes(parts, (part) => part.listing?.prompts.map((one) => String(one.name)) ?? []);

  const unread = parts.flatMap(({ spec, listing }, at) => (spec && !listing ? [{ at, spec }] : []));

  for (const [at, { server, spec, listing, unaccepted: open, fault }] of parts.entries()) {
    if (fault !== undefined)
      degraded.push({ server, reason: listing ? `showing an older list: ${fault}` : fault });
    if (!listing || !spec) continue;
    const leftOut = new LeftOut(server);
    leftOuts.push(leftOut);
    const heldHere = new LeftOut(server);
    heldBack.push(heldHere);
    // Whoever wants the names as the server has them gets them, up to what the protocol allows.
    const limit = spec.prefix === 'never' ? MAX_NAME : shortLimit;
    for (const { what, reason } of listing.dropped) leftOut.add(what, reason);
    for (const tool of listing.tools) {
      if (!isOffered(tool.name, spec)) continue;
      const canonical = canonicalName(server, tool.name);
      if (!rights.runs(canonical) || hidden.tool(canonical)) continue;
      const own = overrideOf(tool.name, spec)?.name ?? tool.name;
      const wanted = withPrefix(server, own, spec.prefix, toolClashes);
      const exposed = exposedName(wanted, canonical, limit);
      const claim = tools.get(exposed) ?? changedOne(held.get(exposed));
      const owner = claim?.server ?? (isBuiltin(spec) ? undefined : builtin.get(exposed));
      if (owner !== undefined || RESERVED.has(exposed)) {
        leftOut.add(`tool ${tool.name}`, `the name ${exposed} is that of a tool of ${owner ?? 'Castellan'}`);
        continue;
      }
      const shape = resultShape(spec.tools.results, tool.name, project.spec.results.maxBytes);
      const { description } = overrideOf(tool.name, spec) ?? {};
      const definition = exposedDefinition(tool.definition, exposed, description, shape);
      const provisional =
        wanted === own &&
        unread.some((one) => one.spec.prefix !== 'always' && (one.at < at || spec.prefix === 'conditional'));
      const readOnly =
        anyGlobMatches(spec.tools.readOnly, tool.name) || (isBuiltin(spec) && saysReadOnly(tool));
      const { era, capabilities } = listing.peer;
      const taskSupport = taskSupportOf(tool.definition, era, capabilities);
      const unaccepted = open.get(tool.name);
      const isHeld =
        unaccepted === 'new' || (unaccepted === 'changed' && project.spec.changedTools !== 'warn');
      if (isHeld) heldHere.add(`tool ${withHiddenShown(tool.name)}`, waitingText(unaccepted));
      (isHeld ? held : tools).set(exposed, {
        exposed,
        canonical,
        server,
        tool,
        definition,
        readOnly,
        taskSupport,
        shape,
        provisional,
        unaccepted,
      });
    }
    // Prompts and resources have no rights of their own: they go with the right to all that their server has.
    if (!rights.runsAllOf(server) || hidden.server(server)) continue;
    for (const prompt of listing.prompts) {
      const name = String(prompt.name);
      const wanted = withPrefix(server, name, spec.prefix, promptClashes);
      const exposed = exposedName(wanted, canonicalName(server, name), limit);
      const owner = prompts.get(exposed)?.server;
      if (owner !== undefined) {
        leftOut.add(`prompt ${name}`, `the name ${exposed} is that of a prompt of ${owner}`);
        continue;
      }
      prompts.set(exposed, { server, name });
      promptList.push(exposed === name ? prompt : { ...prompt, name: exposed });
    }
    for (const resource of listing.resources) {
      const uri = String(resource.uri);
      // URIs stay as they are; the first server in the project's order owns one that two of them list.
      const owner = resources.get(uri);
      if (owner !== undefined) {
        leftOut.add(`resource ${uri}`, `it is read from ${owner}`);
        continue;
      }
      resources.set(uri, server);
      resourceList.push(resource);
    }
    for (const template of listing.templates) {
      const text = String(template.uriTemplate);
      const owner = templateOwners.get(text);
      templates.push({ server, text, template: uriTemplate(text) });
      if (owner !== undefined) {
        leftOut.add(`template ${text}`, `${owner} has it too and is asked first`);
        continue;
      }
      templateOwners.set(text, server);
      templateList.push(template);
    }
  }
  degraded.push(...leftOuts.flatMap((one) => one.notes()));

  const offered = [...tools.values()];
  const toolList = offered.map((tool) => tool.definition);
  const forTasks = offered.some(({ taskSupport }) => isForTasks(taskSupport));
  const waiting = heldBack.flatMap((one) => one.notes());
  const empty = waiting.length > 0 ? ALL_HELD : emptyReason(parts, scope);
  const notes = notesOf([...degraded, ...waiting], toolList.length > 0 ? undefined : empty);
  const own = ownTools.filter((tool) => tool.isOn(scope));
  const ownList = own.filter((tool) => tool.isListed(scope, parts)).map(({ definition }) => definition);
  const listed = { tools: [...toolList, ...ownList], ...notes };
  const view: View = {
    tools,
    held,
    own: new Map(own.map((tool) => [tool.name, tool])),
    prompts,
    resources,
    templates,
    degraded,
    unread: parts.filter(({ spec, listing }) => spec && !listing).map(({ server }) => server),
    lists: {
      tools: listed,
      toolsWithTasks: forTasks
        ? { tools: [...offered.map(definitionWithTasks), ...ownList], ...notes }
        : listed,
      prompts: { prompts: promptList, ...notes },
      resources: { resources: resourceList, ...notes },
      templates: { resourceTemplates: templateList, ...notes },
    },
  };
  return exposed(view, exposureOf(scope), { tools: ownList, ...notes });
}

/** Exposure decides what is listed, and never what can be called. */
function exposed(view: View, exposure: ProjectSpec['exposure'], start: JsonObject): View {
  if (exposure === 'full') return view;
  const shown: View = { ...view, lists: { ...view.lists, tools: start, toolsWithTasks: start } };
  return exposure === 'gated' ? { ...shown, begun: view } : shown;
}

function notesOf(degraded: readonly Degraded[], empty: string | undefined): { _meta?: JsonObject } {
  const meta: JsonObject = {};
  if (degraded.length > 0) meta[DEGRADED_META] = degraded;
  if (empty !== undefined) meta[NOTICE_META] = empty;
  return Object.keys(meta).length > 0 ? { _meta: meta } : {};
}

/** Why a surface has no tool at all. */
function emptyReason(parts: readonly ViewPart[], { project, surface, rights }: Scope): string {
  if (rights.isNothing)
    return `This credential may run no tool of project ${project.name}: grant it role:run,resource:tools.`;
  if (parts.length === 0) return `No server is on the ${surface} surface of this project.`;
  const down = parts.filter((part) => !part.listing);
  if (down.length === parts.length) return 'None of the servers of this surface can be reached right now.';
  if (down.length > 0)
    return 'The servers that can be reached offer no tools here; others cannot be reached.';
  return 'The servers of this surface offer no tools, or tools.allow, tools.deny, the policies and the rights of this credential leave none.';
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

/** Names that more than one server uses. */
function clashes(parts: readonly ViewPart[], namesOf: (part: ViewPart) => string[]): ReadonlySet<string> {
  const owners = new Map<string, string>();
  const twice = new Set<string>();
  for (const part of parts) {
    for (const name of namesOf(part)) {
      const owner = owners.get(name);
      if (owner === undefined) owners.set(name, part.server);
      else if (owner !== part.server) twice.add(name);
    }
  }
  return twice;
}

function withPrefix(server: string, name: string, mode: PrefixMode, twice: ReadonlySet<string>): string {
  if (mode === 'always') return canonicalName(server, name);
  return mode === 'conditional' && twice.has(name) ? canonicalName(server, name) : name;
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

function isForTasks(support: TaskSupport): boolean {
  return support === 'required' || support === 'optional';
}

function definitionWithTasks({ definition, taskSupport }: ViewTool): JsonObject {
  if (!isForTasks(taskSupport)) return definition;
  const { execution } = definition;
  return { ...definition, execution: { ...(isObject(execution) ? execution : {}), taskSupport } };
}
