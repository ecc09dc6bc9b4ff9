import { readFile, stat } from 'node:fs/promises';
import { messageOf } from '../base/errors.ts';
import { ok, type Result, refused } from '../base/result.ts';
import { unknownGroups } from './access-fields.ts';
import { unknownClientNames } from './client-fields.ts';
import { type FileObject, MAX_FILE_CHARS, type ParsedFile, parseFile } from './documents.ts';
import type { KindName } from './kinds.ts';
import type { Labels } from './labels.ts';
import { DEFAULT_PROJECT } from './objects.ts';
import type { LocatedProblem } from './problems.ts';
import { misnamedServers, projectSpec, type TokenFields } from './project-fields.ts';
import { objectKey } from './resource-rows.ts';
import { changedSecret, type SecretFields } from './secret-fields.ts';

/** What the files given at start declare together. A later file's object replaced an earlier one's as a whole. */
export type FileLayer = {
  /** By kind and name; tokens are no objects of this layer. */
  objects: ReadonlyMap<string, FileObject>;
  /** Values of secrets as written, by name and key; the objects name the keys alone. */
  secrets: ReadonlyMap<string, Readonly<Record<string, string>>>;
  tokens: readonly FileToken[];
  notices: readonly LocatedProblem[];
};

/** A McpToken that a file asks for; its secret is made by whoever reads this. */
export type FileToken = {
  name: string;
  project: string;
  labels: Labels | undefined;
  spec: TokenFields;
  file: string;
  line: number;
};

/** Whether another layer has an object that the objects of files may name. */
export type OtherLayer = (kind: KindName, name: string) => { spec: unknown } | undefined;

export const NO_FILES: FileLayer = {
  objects: new Map(),
  secrets: new Map(),
  tokens: [],
  notices: [],
};

/** Reads all files, in order. The error lists every problem found, with file and line. */
export async function readFileLayer(
  files: readonly string[],
  other: OtherLayer,
): Promise<Result<FileLayer, LocatedProblem[]>> {
  const parsed: ParsedFile[] = [];
  for (const file of files) parsed.push(await readParsed(file));
  const problems = parsed.flatMap((one) => [...one.problems, ...duplicates(one), ...emptySecrets(one)]);
  if (problems.length > 0) return refused(problems);
  const layer = mergeFiles(parsed);
  const dangling = danglingNames(layer, other);
  return dangling.length > 0 ? refused(dangling) : ok(layer);
}

async function readParsed(file: string): Promise<ParsedFile> {
  try {
    if ((await stat(file)).size > MAX_FILE_CHARS * 4) return parseFile(file, ' '.repeat(MAX_FILE_CHARS + 1));
    return parseFile(file, await readFile(file, 'utf8'));
  } catch (error) {
    const problem = { file, line: 1, field: '', message: readFault(error) };
    return { file, client: false, objects: [], problems: [problem], notices: [] };
  }
}

function readFault(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  if (code === 'ENOENT') return 'the file does not exist: correct the path';
  if (code === 'EISDIR') return 'is a folder: name the files in it';
  if (code === 'EACCES') return 'the file may not be read: change its permissions';
  return `the file cannot be read (${messageOf(error)}): check it`;
}

function keyOf(object: { kind: KindName; name: string; project?: string }): string {
  return `${object.kind}/${object.project ?? ''}/${object.name}`;
}

function duplicates({ objects }: ParsedFile): LocatedProblem[] {
  const first = new Map<string, FileObject>();
  return objects.flatMap((object) => {
    const earlier = first.get(keyOf(object));
    if (!earlier) {
      first.set(keyOf(object), object);
      return [];
    }
    const message = `${object.kind} ${object.name} stands already on line ${earlier.line}: rename or remove one`;
    return [object.locate({ path: ['metadata', 'name'], message })];
  });
}

/** A file has nobody to keep a value for it. */
function emptySecrets({ objects }: ParsedFile): LocatedProblem[] {
  return objects.flatMap(({ kind, spec, locate }) => {
    if (kind !== 'Secret') return [];
    const { keys = [], data = {} } = spec as SecretFields;
    const message = `a secret of a file needs its values: write them below data, as \${VAR} if you like`;
    const absent = keys.findIndex((key) => !Object.hasOwn(data, key));
    if (absent >= 0) return [locate({ path: ['spec', 'keys', absent], message })];
    return Object.keys(data).length > 0 ? [] : [locate({ path: ['spec', 'data'], message })];
  });
}

function mergeFiles(parsed: readonly ParsedFile[]): FileLayer {
  const last = new Map<string, FileObject>();
  for (const object of parsed.flatMap((one) => one.objects)) last.set(keyOf(object), object);
  const isToken = ({ kind }: FileObject) => kind === 'McpToken';
  const objects = new Map<string, FileObject>();
  const secrets = new Map<string, Readonly<Record<string, string>>>();
  for (const object of last.values()) {
    if (isToken(object)) continue;
    const { data = {} } = object.spec as SecretFields;
    if (object.kind === 'Secret') secrets.set(object.name, data);
    const spec = object.kind === 'Secret' ? changedSecret({ data }, undefined) : object.spec;
    objects.set(objectKey(object.kind, object.name), { ...object, spec });
  }
  const client = parsed.filter((one) => one.client);
  const own = objectKey('Project', DEFAULT_PROJECT);
  if (client.length > 0 && !objects.has(own)) objects.set(own, clientProject(client));
  return {
    objects,
    secrets,
    tokens: [...last.values()].filter(isToken).map(({ name, project, labels, spec, file, line }) => {
      return { name, project: project ?? DEFAULT_PROJECT, labels, spec, file, line };
    }),
    notices: parsed.flatMap((one) => one.notices),
  };
}

/** Client files know no projects: without a project `default` of its own, it holds the servers of all of them. */
function clientProject(files: readonly ParsedFile[]): FileObject {
  const servers = [...new Set(files.flatMap((one) => one.objects.map((object) => object.name)))];
  const file = files[0]!.file;
  return {
    kind: 'Project',
    name: DEFAULT_PROJECT,
    spec: { servers },
    file,
    line: 1,
    locate: ({ message }) => ({ file, line: 1, field: '', message }),
  };
}

function danglingNames(layer: FileLayer, other: OtherLayer): LocatedProblem[] {
  const find = (kind: KindName, name: string) =>
    layer.objects.get(objectKey(kind, name)) ?? other(kind, name);
  const has = (kind: KindName) => (name: string) => find(kind, name) !== undefined;
  const problems = [...layer.objects.values()].flatMap((object) => {
    if (object.kind === 'Project')
      return misnamedServers(object.spec, (name) => find('Server', name)).map(object.locate);
    if (object.kind === 'OAuthClient') return unknownClientNames(object.spec, has).map(object.locate);
    return object.kind === 'User' ? unknownGroups(object.spec, has('Group')).map(object.locate) : [];
  });
  for (const { project, file, line } of layer.tokens) {
    if (has('Project')(project)) continue;
    const message = `there is no project ${project}: declare it, or name another`;
    problems.push({ file, line, field: 'metadata.project', message });
  }
  return problems;
}

/** The projects among `projects` that name the server, sorted. */
export function projectsWith(server: string, projects: Iterable<{ name: string; spec: unknown }>): string[] {
  return [...projects]
    .filter(({ spec }) => {
      const { servers, operatorServers } = projectSpec(spec);
      return servers.includes(server) || operatorServers.includes(server);
    })
    .map(({ name }) => name)
    .sort();
}
