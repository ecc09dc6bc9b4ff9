import { readFile, stat } from 'node:fs/promises';
import { homedir, platform } from 'node:os';
import path from 'node:path';
import { messageOf } from '../base/errors.ts';
import { isObject } from '../protocol/jsonrpc.ts';
import { blankComments } from '../resources/jsonc.ts';
import { failed } from './exit.ts';
import type { VerbContext } from './verbs.ts';

/** Clients whose configuration we can find. */
export const KNOWN_CLIENTS = ['claude', 'cursor', 'vscode'] as const;
export type KnownClient = (typeof KNOWN_CLIENTS)[number];

/** Their histories live in the same file. */
const MAX_BYTES = 64 * 1024 * 1024;

/** Where a client keeps its servers for this user and this folder; what comes later is more exact and wins. */
export function clientFiles(client: KnownClient, env: VerbContext['env'], folder: string): string[] {
  const home = env.HOME || homedir();
  const config = applicationData(env, home);
  switch (client) {
    case 'claude':
      return [
        path.join(config, 'Claude', 'claude_desktop_config.json'),
        path.join(home, '.claude.json'),
        path.join(folder, '.mcp.json'),
      ];
    case 'cursor':
      return [path.join(home, '.cursor', 'mcp.json'), path.join(folder, '.cursor', 'mcp.json')];
    case 'vscode':
      return [path.join(config, 'Code', 'User', 'mcp.json'), path.join(folder, '.vscode', 'mcp.json')];
  }
}

function applicationData(env: VerbContext['env'], home: string): string {
  if (platform() === 'darwin') return path.join(home, 'Library', 'Application Support');
  if (platform() === 'win32') return env.APPDATA || path.join(home, 'AppData', 'Roaming');
  return env.XDG_CONFIG_HOME || path.join(home, '.config');
}

/** The servers in such a file, those for `folder` last; undefined when there is no file, or none in it. */
export async function clientServersIn(
  file: string,
  folder: string,
): Promise<Record<string, unknown> | undefined> {
  const found = await stat(file).catch(() => undefined);
  if (!found?.isFile()) return undefined;
  if (found.size > MAX_BYTES) throw failed(`${file} is larger than ${MAX_BYTES / 1024 / 1024} MiB`);
  let value: unknown;
  try {
    value = JSON.parse(blankComments((await readFile(file, 'utf8')).replace(/^\uFEFF/, '')));
  } catch (error) {
    throw failed(`${file} cannot be read: ${messageOf(error)}`);
  }
  if (!isObject(value)) return undefined;
  const own = isObject(value.projects) ? value.projects[folder] : undefined;
  const servers = { ...serversOf(value), ...(isObject(own) ? serversOf(own) : {}) };
  return Object.keys(servers).length > 0 ? servers : undefined;
}

function serversOf(value: Record<string, unknown>): Record<string, unknown> {
  if (isObject(value.mcpServers)) return value.mcpServers;
  return isObject(value.servers) ? value.servers : {};
}
