import { canonicalJson } from '../base/canonical-json.ts';
import { sha256Hex } from '../base/ids.ts';
import type { Policy } from '../policy/policy.ts';
import { PolicyBook } from '../policy/policy-book.ts';
import { buildAccess } from './access-model.ts';
import { BUILTIN_TOOLSETS } from './builtin-toolsets.ts';
import {
  type BuiltinValue,
  type Environment,
  type ExpansionSources,
  expandAll,
  expandText,
} from './expansion.ts';
import type { KindName } from './kinds.ts';
import { policyOf } from './policy-fields.ts';
import type { FieldPath, LocatedProblem, Problem } from './problems.ts';
import { describeProblem, fieldName } from './problems.ts';
import { projectProblems, projectSpec } from './project-fields.ts';
import { repositoryProblems, repositorySpec, resolvedRepositoryProblems } from './repository-fields.ts';
import { confidentialOf } from './server-auth.ts';
import { resolvedServerProblems, serverProblems, serverSpec, type WrittenServer } from './server-fields.ts';
import type {
  Access,
  Policies,
  PolicyEntry,
  ProjectEntry,
  ProjectSpec,
  RepositoryEntry,
  ServerEntry,
  Snapshot,
  Surface,
} from './spec.ts';

/** An object of either layer, ready to be looked at; `file` says which layer. */
export type LayeredObject = {
  kind: KindName;
  name: string;
  uid: string;
  spec: Record<string, unknown> | undefined;
  /** The file that owns it; undefined for an object from the API. */
  file: string | undefined;
  locate: (problem: Problem) => LocatedProblem;
};

/** What placeholders resolve to; variables do so for objects of files alone. */
export type Surroundings = {
  env: Environment;
  builtin: ExpansionSources['builtin'];
  secret: (name: string, key: string) => BuiltinValue;
  /** A keyed digest, so that nobody finds a short secret by trying. */
  digest: (text: string) => string;
};

/** Where a secret may stand: what is listed to agents or shown of a server is none of its places. */
const SECRET_FIELDS: ReadonlySet<unknown> = new Set(['env', 'headers', 'args', 'url', 'auth']);

/** A place in a request or a row, where there is no file. */
export const locateField = ({ path, message }: Problem): LocatedProblem => ({
  field: fieldName(path),
  message,
});

/** The expanded spec; placeholders that failed stay as written, and `problems` says why. */
export function resolveSpec(
  object: LayeredObject,
  { env, builtin, secret }: Pick<Surroundings, 'env' | 'builtin'> & Pick<ExpansionSources, 'secret'>,
): { spec: unknown; problems: LocatedProblem[] } {
  const sources = { env: object.file === undefined ? undefined : env, builtin, secret };
  const { expanded, problems } = expandServer(object.spec, sources);
  return { spec: expanded, problems: problems.map(object.locate) };
}

/** Replaces the placeholders of a server's spec, secrets only where nobody is shown them. */
export function expandServer(
  spec: unknown,
  sources: ExpansionSources,
): { expanded: unknown; problems: Problem[] } {
  const problems: Problem[] = [];
  const elsewhere = () => ({
    error: `a secret cannot stand here: use it in ${[...SECRET_FIELDS].join(', ')}`,
  });
  const expand = (text: string, [, field]: FieldPath) =>
    expandText(text, SECRET_FIELDS.has(field) ? sources : { ...sources, secret: elsewhere });
  return { expanded: expandAll(spec, ['spec'], expand, problems), problems };
}

/** Builds the picture from all objects, file objects already preferred over their namesakes from the API. */
export function buildSnapshot(
  layered: Iterable<LayeredObject>,
  generation: number,
  surroundings: Surroundings,
): Snapshot {
  const servers = new Map<string, ServerEntry>();
  const projects = new Map<string, ProjectEntry>();
  const repositories = new Map<string, RepositoryEntry>();
  const objects = [...layered].sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const object of objects) {
    if (object.kind === 'Server') servers.set(object.name, serverEntry(object, surroundings));
    if (object.kind === 'Project') projects.set(object.name, projectEntry(object));
    if (object.kind === 'Repository') repositories.set(object.name, repositoryEntry(object, surroundings));
  }
  for (const { name, spec } of projects.values()) {
    leaveOutMisplaced(spec, servers);
    for (const server of [...spec.servers, ...spec.operatorServers]) {
      if (!servers.has(server)) servers.set(server, missingServer(server, name));
    }
  }
  const access: Access = buildAccess(objects);
  return { generation, servers, projects, access, policies: policiesOf(objects), repositories };
}

/** A server that became a toolset of the other surface after its project was checked is on neither. */
function leaveOutMisplaced(spec: ProjectSpec, servers: ReadonlyMap<string, ServerEntry>): void {
  const fits = (surface: Surface) => (name: string) => {
    const target = servers.get(name)?.spec?.target;
    return target?.type !== 'builtin' || BUILTIN_TOOLSETS.get(target.toolset)?.surface === surface;
  };
  spec.servers = spec.servers.filter(fits('consumer'));
  spec.operatorServers = spec.operatorServers.filter(fits('operator'));
}

/** No policy at all. */
export const NO_POLICIES: Policies = { entries: new Map(), book: new PolicyBook([]) };

function policiesOf(objects: readonly LayeredObject[]): Policies {
  const policies: Policy[] = [];
  const entries = new Map<string, PolicyEntry>();
  for (const { kind, name, uid, spec, locate } of objects) {
    if (kind !== 'Policy') continue;
    const policy = policyOf(name, spec, locate);
    const error = 'fault' in policy ? policy.fault : undefined;
    policies.push(policy);
    entries.set(name, {
      name,
      uid,
      fingerprint: sha256Hex(canonicalJson([spec ?? null, error ?? null])),
      error,
    });
  }
  return { entries, book: new PolicyBook(policies) };
}

const NOTHING_CONFIDENTIAL = { confidential: new Map<string, string>() };

function serverEntry(object: LayeredObject, surroundings: Surroundings): ServerEntry {
  const { name, uid } = object;
  const broken = (problems: readonly LocatedProblem[]): ServerEntry => {
    const error = problems.slice(0, 5).map(describeProblem).join('; ');
    return { ...NOTHING_CONFIDENTIAL, name, uid, fingerprint: error, error, spec: undefined };
  };
  const written = serverProblems(object.spec);
  if (written.length > 0) return broken(written.map(object.locate));
  const confidential = new Map<string, string>();
  const secret = (secretName: string, key: string, raw: string) => {
    const found = surroundings.secret(secretName, key);
    if ('value' in found) confidential.set(found.value, raw);
    return found;
  };
  const { spec, problems } = resolveSpec(object, { ...surroundings, secret });
  if (problems.length > 0) return broken(problems);
  const resolved = resolvedServerProblems(spec);
  if (resolved.length > 0) return broken(resolved.map(object.locate));
  for (const [value, shown] of confidentialOf((spec as WrittenServer).auth))
    if (!confidential.has(value)) confidential.set(value, shown);
  const ready = serverSpec(spec as WrittenServer);
  const fingerprint = surroundings.digest(canonicalJson([name, ready]));
  return { name, uid, fingerprint, confidential, error: undefined, spec: ready };
}

function repositoryEntry(object: LayeredObject, surroundings: Surroundings): RepositoryEntry {
  const { name, uid } = object;
  const broken = (problems: readonly LocatedProblem[]): RepositoryEntry => {
    const error = problems.slice(0, 5).map(describeProblem).join('; ');
    return { name, uid, error, spec: undefined };
  };
  const written = repositoryProblems(object.spec);
  if (written.length > 0) return broken(written.map(object.locate));
  const { spec, problems } = resolveSpec(object, surroundings);
  if (problems.length > 0) return broken(problems);
  const resolved = resolvedRepositoryProblems(spec);
  if (resolved.length > 0) return broken(resolved.map(object.locate));
  return { name, uid, error: undefined, spec: repositorySpec(spec) };
}

/** A row that another version wrote may be unreadable here: the project then offers nothing rather than too much. */
function projectEntry({ name, uid, spec }: LayeredObject): ProjectEntry {
  const readable = projectProblems(spec).length === 0;
  return { name, uid, spec: projectSpec(readable ? spec : {}) };
}

/** A name that a project holds on to after its server left the files; listed, so that somebody sees why it is gone. */
function missingServer(name: string, project: string): ServerEntry {
  const error = `there is no server ${name}, which project ${project} names: declare it, or remove it from the project`;
  return { ...NOTHING_CONFIDENTIAL, name, uid: '', fingerprint: error, error, spec: undefined };
}
