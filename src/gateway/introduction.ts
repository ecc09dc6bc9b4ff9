import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import { offeredExtensions, type Part } from './extensions.ts';
import { exposureOf, type Scope, serversOf } from './scope.ts';
import { cancelsTasks, takesTasks } from './tasks/course.ts';

const MAX_INSTRUCTIONS = 16_384;
const MAX_NAMED = 50;
/** How the tools are reached that are not listed. */
const WAYS = {
  meta: 'Their tools are behind the mcp tool: find them with list_tools and a query, see their arguments with describe_tool, then call.',
  gated:
    'Begin with begin_session: it finds the tools for a task. Call those by name where you have them, else through the mcp tool.',
};

/**
 * The union of what the servers of a surface offer. A server that nobody has reached yet may offer anything, and a
 * client asks only for what it was told of: the unknown counts as offered. Kept results are read as resources.
 */
export function capabilitiesOf(parts: readonly Part[], keepsResults: boolean): JsonObject {
  const offered = (capability: string) =>
    parts.some(({ listing }) => listing === undefined || isObject(listing.peer.capabilities[capability]));
  const capabilities: JsonObject = { tools: { listChanged: true } };
  if (keepsResults || offered('resources'))
    capabilities.resources = { listChanged: true, ...(subscribable(parts) && { subscribe: true }) };
  if (offered('prompts')) capabilities.prompts = { listChanged: true };
  if (offered('completions')) capabilities.completions = {};
  if (parts.some(({ listing }) => isObject(listing?.peer.capabilities.logging))) capabilities.logging = {};
  const extensions = offeredExtensions(parts);
  if (extensions) capabilities.extensions = extensions;
  return capabilities;
}

/** What clients of 2025-11-25 hear of tasks. There is no list: whose tasks a server would list is not known here. */
export function tasksOf(parts: readonly Part[]): JsonObject | undefined {
  const able = parts.filter(({ listing }) => {
    return listing?.peer.era === 'legacy' && takesTasks(listing.peer.capabilities);
  });
  if (able.length === 0) return undefined;
  const cancel = able.some(({ listing }) => cancelsTasks(listing!.peer.capabilities));
  return { requests: { tools: { call: {} } }, ...(cancel && { cancel: {} }) };
}

/** Whether some server is known to tell of changes of its resources. */
function subscribable(parts: readonly Part[]): boolean {
  return parts.some(({ listing }) => {
    const resources = listing?.peer.capabilities.resources;
    return isObject(resources) && resources.subscribe === true;
  });
}

/**
 * What the servers tell the model about themselves, each under its own heading. Where their tools are not listed, this
 * is left to whoever needs it (`mcp help`).
 */
export function instructionsOf(scope: Scope, parts: readonly Part[]): string {
  const { project, surface } = scope;
  const where = `Castellan, project ${project.name}, ${surface} surface`;
  const names = serversOf(scope);
  if (names.length === 0) return `${where}: no server is configured on it.`;
  const exposure = exposureOf(scope);
  if (exposure !== 'full') return `${where}: ${names.length} servers (${someOf(names)}). ${WAYS[exposure]}`;
  let text = `${where}: the tools of ${names.join(', ')}.`;
  for (const { server, listing } of parts) {
    const own = listing?.peer.instructions?.trim();
    if (!own) continue;
    const section = `\n\n## ${server}\n${own}`;
    if (text.length + section.length > MAX_INSTRUCTIONS) {
      text += `\n\n## ${server}\n(instructions left out: too long)`;
      break;
    }
    text += section;
  }
  return text;
}

function someOf(names: readonly string[]): string {
  const more = names.length - MAX_NAMED;
  return more > 0 ? `${names.slice(0, MAX_NAMED).join(', ')} and ${more} more` : names.join(', ');
}
