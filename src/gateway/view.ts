import type { Unaccepted } from '../pins/pinned.ts';
import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import type { UriTemplate } from '../protocol/uri-template.ts';
import type { ProjectSpec, ServerSpec } from '../resources/spec.ts';
import type { ResultShape } from '../results/result-rules.ts';
import type { Listing, UpstreamTool } from '../upstream/listing.ts';
import { LeftOut } from './left-out.ts';
import { MergedEntries } from './merged-entries.ts';
import { MergedTools } from './merged-tools.ts';
import type { OwnTool } from './own/own-tool.ts';
import { exposureOf, type Scope } from './scope.ts';
import type { TaskSupport } from './tasks/course.ts';

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

/** A part whose list is known. */
export type ReadPart = ViewPart & { spec: ServerSpec; listing: Listing };

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

const ALL_HELD =
  'The tools of this surface wait for somebody who runs the project to accept their definitions.';

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
  const merged = new MergedTools(scope, parts, hidden);
  const entries = new MergedEntries(scope.project.name, parts);
  const degraded: Degraded[] = [];
  const leftOuts: LeftOut[] = [];
  const heldBack: LeftOut[] = [];
  for (const [at, part] of parts.entries()) {
    const { server, listing, fault } = part;
    if (fault !== undefined)
      degraded.push({ server, reason: listing ? `showing an older list: ${fault}` : fault });
    if (!isRead(part)) continue;
    const [leftOut, heldHere] = [new LeftOut(server), new LeftOut(server)];
    leftOuts.push(leftOut);
    heldBack.push(heldHere);
    for (const { what, reason } of part.listing.dropped) leftOut.add(what, reason);
    merged.add(part, at, leftOut, heldHere);
    // Prompts and resources have no rights of their own: they go with the right to all that their server has.
    if (scope.rights.runsAllOf(server) && !hidden.server(server)) entries.add(part, leftOut);
  }
  degraded.push(...leftOuts.flatMap((one) => one.notes()));

  const { tools, held } = merged;
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
    prompts: entries.prompts,
    resources: entries.resources,
    templates: entries.templates,
    degraded,
    unread: parts.filter(({ spec, listing }) => spec && !listing).map(({ server }) => server),
    lists: {
      tools: listed,
      toolsWithTasks: forTasks
        ? { tools: [...offered.map(definitionWithTasks), ...ownList], ...notes }
        : listed,
      prompts: { prompts: entries.lists.prompts, ...notes },
      resources: { resources: entries.lists.resources, ...notes },
      templates: { resourceTemplates: entries.lists.templates, ...notes },
    },
  };
  return exposed(view, exposureOf(scope), { tools: ownList, ...notes });
}

function isRead(part: ViewPart): part is ReadPart {
  return part.spec !== undefined && part.listing !== undefined;
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

function isForTasks(support: TaskSupport): boolean {
  return support === 'required' || support === 'optional';
}

function definitionWithTasks({ definition, taskSupport }: ViewTool): JsonObject {
  if (!isForTasks(taskSupport)) return definition;
  const { execution } = definition;
  return { ...definition, execution: { ...(isObject(execution) ? execution : {}), taskSupport } };
}
