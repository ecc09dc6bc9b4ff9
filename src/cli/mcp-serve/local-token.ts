import { randomBytes } from 'node:crypto';
import path from 'node:path';
import { isObject } from '../../protocol/jsonrpc.ts';
import type { Surface } from '../../resources/spec.ts';
import { lockFile } from '../../store/file-lock.ts';
import { readPrivateFile, writePrivateFile } from '../../store/private-file.ts';
import { failed } from '../exit.ts';
import { type Access, ServerClient } from '../server-client.ts';

const FILE = 'mcp-serve.json';
const MAX_BYTES = 1024 * 1024;
const PATIENCE_MS = 30_000;

/**
 * What a program behind `mcp-serve` may do with the data directory at hand: run the tools of the project, and look at
 * its held calls. It decides on none, so that what it asked for waits for a person.
 */
const BINDS = [
  { role: 'run', resource: 'tools' },
  { role: 'view', resource: 'approvals' },
];

export type TokenPlace = { dataDir: string; project: string; surface: Surface };

/**
 * The token that stands for the administrator of a data directory towards MCP: kept there, since held calls and their
 * outcomes belong to the principal that asked.
 * @param refused a token that the server takes no more: another one takes its place
 */
export async function localToken(
  { dataDir, project, surface }: TokenPlace,
  admin: Access,
  refused: string | undefined,
): Promise<string> {
  const lock = await lockFile(path.join(dataDir, 'mcp-serve.lock'), PATIENCE_MS);
  if (!lock) throw failed(`another castellan has held mcp-serve.lock in ${dataDir} for 30 s: end it`);
  try {
    const file = path.join(dataDir, FILE);
    const tokens = await keptTokens(file);
    const server = ServerClient.over(admin);
    const { metadata } = await server.get(`projects/${encodeURIComponent(project)}`);
    // A later project of the same name is another one, and no token of the earlier one opens it.
    const key = `${(metadata as { uid: string }).uid}/${surface}`;
    const kept = tokens[key];
    if (kept !== undefined && kept !== refused) return kept;
    const { token } = await server.post('mcptokens', {
      project,
      // Replicas on one database have a data directory each, and must not take the name from each other.
      name: `mcp-serve-${randomBytes(3).toString('hex')}`,
      binds: BINDS,
      surfaces: [surface],
      description: `made by castellan mcp-serve for its ${surface} surface`,
    });
    await writePrivateFile(file, `${JSON.stringify({ ...tokens, [key]: token }, null, 2)}\n`);
    return String(token);
  } finally {
    lock.release();
  }
}

/** By uid of the project, and surface. What is damaged counts as nothing. @throws CommandFailure where others can read */
async function keptTokens(file: string): Promise<Record<string, string>> {
  const read = await readPrivateFile(file, MAX_BYTES);
  if (!read) return {};
  if (read.openToOthers)
    throw failed(
      `${file} can be read by other users: delete it, and revoke the tokens mcp-serve-… of its projects`,
    );
  try {
    const value: unknown = JSON.parse(read.content);
    const entries = isObject(value) ? Object.entries(value) : [];
    return Object.fromEntries(entries.filter((entry): entry is [string, string] => isText(entry[1])));
  } catch {
    return {};
  }
}

const isText = (value: unknown) => typeof value === 'string';
