import { readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { messageOf } from '../../base/errors.ts';
import { sha256Hex } from '../../base/ids.ts';
import { bundledValue } from '../../resources/bundled.ts';
import { type FileObject, MAX_FILE_CHARS, parseFile } from '../../resources/documents.ts';
import { nearest } from '../../resources/names.ts';
import { describeProblem } from '../../resources/problems.ts';
import { buildSnapshot, resolveSpec, type Surroundings } from '../../resources/snapshot.ts';
import type { ServerEntry } from '../../resources/spec.ts';
import { configurationFolder } from '../configuration-folder.ts';
import { usage } from '../exit.ts';
import type { VerbContext } from '../verbs.ts';
import { TrustedServers } from './trusted-servers.ts';

/** Below the folder of this user's configuration, and in the folder at hand. */
const OWN_FILES = ['mcp.json', 'mcp.yaml'];
const PROJECT_FILES = ['.mcp.json', 'castellan.yaml'];

/** A server of a file, for whoever runs without a Castellan that serves. */
export type LocalServer = {
  name: string;
  /** As it is written. */
  spec: Record<string, unknown>;
  file: string;
  /** `own`: of a file of this user, or with nothing to start and to give away · the others: of a project, as somebody has read it */
  trust: 'own' | 'trusted' | 'changed' | 'untrusted';
  entry: ServerEntry;
  /** With variables replaced. */
  resolved: unknown;
};

export type LocalServers = {
  files: string[];
  /** By name, sorted. */
  servers: LocalServer[];
  /** What is wrong with the files beside that. */
  faults: string[];
  trusted: TrustedServers;
};

/**
 * The servers of this user's own files and of those of the folder at hand, or of the files given. A later file's server
 * replaces an earlier one's of the same name.
 */
export async function readLocalServers(
  given: readonly string[] | undefined,
  { env }: Pick<VerbContext, 'env'>,
): Promise<LocalServers> {
  const folder = configurationFolder(env);
  const named = given?.map((file) => path.resolve(file));
  const files = named ?? [
    ...OWN_FILES.map((name) => path.join(folder, name)),
    ...PROJECT_FILES.map((name) => path.resolve(name)),
  ];
  const trusted = await TrustedServers.read(folder);
  const found = new Map<string, FileObject>();
  const faults: string[] = [];
  const there: string[] = [];
  for (const file of files) {
    const read = await readServers(file, named !== undefined);
    if (!read) continue;
    there.push(file);
    faults.push(...read.faults);
    for (const server of read.servers) found.set(server.name, server);
  }
  const around = surroundings(env, folder);
  const entries = buildSnapshot(
    [...found.values()].map((object) => ({ ...object, uid: `${object.file}#${object.name}` })),
    0,
    around,
  ).servers;
  const servers = [...found.values()].map(({ name, spec, file, locate }): LocalServer => {
    // An entry without a command can still carry variables of this user to whom it likes.
    const isHarmless = spec.command === undefined && !JSON.stringify(spec).includes('${');
    const isOwn = path.dirname(file) === folder || isHarmless;
    const layered = { kind: 'Server', name, uid: '', spec, file, locate } as const;
    return {
      name,
      spec,
      file,
      trust: isOwn ? 'own' : trusted.state(file, name, spec),
      entry: entries.get(name)!,
      resolved: resolveSpec(layered, around).spec,
    };
  });
  return { files: there, servers: servers.sort((a, b) => (a.name < b.name ? -1 : 1)), faults, trusted };
}

/** @throws CommandFailure naming what there is */
export function localServer({ servers, files }: LocalServers, name: string): LocalServer {
  const found = servers.find((server) => server.name === name);
  if (found) return found;
  const meant = nearest(
    name,
    servers.map((server) => server.name),
  );
  const places = files.length > 0 ? files.join(', ') : 'no file';
  throw usage(`there is no server ${name} in ${places}${meant ? `: did you mean ${meant}?` : ''}`);
}

/** Why the server must not be started now; undefined when it may. */
export function untrustedText({ name, file, trust }: LocalServer): string | undefined {
  if (trust === 'own' || trust === 'trusted') return undefined;
  const why = trust === 'changed' ? 'has changed since you trusted it' : 'is not trusted yet';
  return `${name} of ${file} ${why}: look at it, then run castellan mcp trust ${name}`;
}

async function readServers(
  file: string,
  isNamed: boolean,
): Promise<{ servers: FileObject[]; faults: string[] } | undefined> {
  try {
    const { size, mode } = await stat(file);
    if (size > MAX_FILE_CHARS * 4) return { servers: [], faults: [`${file} is larger than 4 MiB`] };
    if (process.platform !== 'win32' && (mode & 0o022) !== 0) {
      return { servers: [], faults: [`${file} can be changed by other users: run chmod go-w ${file}`] };
    }
    const { objects, problems } = parseFile(file, await readFile(file, 'utf8'));
    return {
      servers: objects.filter(({ kind }) => kind === 'Server'),
      faults: problems.map(describeProblem),
    };
  } catch (error) {
    if (!isNamed && (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    return { servers: [], faults: [`${file} cannot be read: ${messageOf(error)}`] };
  }
}

function surroundings(env: VerbContext['env'], folder: string): Surroundings {
  return {
    env,
    builtin: (key) => bundledValue(key, { dataDir: folder, nodePath: process.execPath }),
    secret: (name) => ({ error: `secret ${name} is kept by a server: use a variable here` }),
    digest: sha256Hex,
  };
}
