import { isMapping } from '../base/mapping.ts';
import { nameFromLabel, printable } from './names.ts';
import type { FieldPath, Problem } from './problems.ts';

/** A server of a client file. `path` leads to it from the root of the document. */
type ClientServer = { path: FieldPath; name: string; spec: Record<string, unknown> };

/** Keys of an entry that mean the same here. */
const TAKEN_KEYS = ['command', 'args', 'env', 'cwd', 'url', 'headers'];
/** Other clients' names for `url`. */
const URL_KEYS = ['serverUrl', 'httpUrl'];
/** Keys that say nothing which has to be kept: which transport follows from command or url. */
const EMPTY_KEYS = ['type', 'transport', 'disabled', 'description', 'gallery', 'version', 'name'];

/** True for a file of Claude, Cursor and the like (`mcpServers`) or of VS Code (`servers`). */
export function isClientFile(value: unknown): boolean {
  if (!isMapping(value) || 'kind' in value || 'apiVersion' in value) return false;
  return isMapping(value.mcpServers) || isMapping(value.servers);
}

/**
 * The servers of a client file as Server specs. A label that is no valid name is turned into one; keys that belong to
 * the client alone are left out with a notice; a disabled entry is left out.
 */
export function clientServers(value: unknown): {
  servers: ClientServer[];
  problems: Problem[];
  notices: Problem[];
} {
  const root = value as Record<string, unknown>;
  const key = isMapping(root.mcpServers) ? 'mcpServers' : 'servers';
  const servers: ClientServer[] = [];
  const problems: Problem[] = [];
  const notices: Problem[] = [];
  const labels = new Map<string, string>();
  for (const [label, entry] of Object.entries(root[key] as Record<string, unknown>)) {
    const path = [key, label];
    const name = nameFromLabel(label);
    const taken = name === undefined ? undefined : labels.get(name);
    if (!isMapping(entry))
      problems.push({ path, message: 'must be a mapping: write command or url below it' });
    else if (entry.disabled === true) notices.push({ path, message: 'is disabled there: left out' });
    else if (name === undefined) problems.push({ path, message: 'gives no valid name: rename the server' });
    else if (taken !== undefined) {
      problems.push({ path, message: `becomes ${name}, like "${printable(taken)}": rename one of them` });
    } else {
      labels.set(name, label);
      if (name !== label) notices.push({ path, message: `is called ${name} here` });
      servers.push({ path, name, spec: clientSpec(entry, path, problems, notices) });
    }
  }
  return { servers, problems, notices };
}

function clientSpec(
  entry: Record<string, unknown>,
  path: FieldPath,
  problems: Problem[],
  notices: Problem[],
): Record<string, unknown> {
  const spec: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(entry)) {
    if (TAKEN_KEYS.includes(key)) spec[key] = value;
    else if (URL_KEYS.includes(key) && entry.url === undefined) spec.url = value;
    else if (key === 'envFile') {
      problems.push({ path: [...path, key], message: 'is not read: write its variables into env' });
    } else if (!EMPTY_KEYS.includes(key)) {
      notices.push({ path: [...path, key], message: 'means something to the client alone: left out' });
    }
  }
  return spec;
}
