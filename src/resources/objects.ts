import { Refusal } from '../base/errors.ts';
import { isMapping } from '../base/mapping.ts';
import { groupProblems, rbacProblems, userNameFault, userProblems } from './access-fields.ts';
import { clientNameFault, clientProblems } from './client-fields.ts';
import { type KindName, kindOf, knownKinds } from './kinds.ts';
import { type Labels, labelProblems } from './labels.ts';
import { nameFault, printable, tokenNameFault } from './names.ts';
import { policyProblems } from './policy-fields.ts';
import { type FieldPath, type Problem, unknownKey } from './problems.ts';
import { projectProblems, tokenProblems } from './project-fields.ts';
import { repositoryProblems } from './repository-fields.ts';
import { secretProblems } from './secret-fields.ts';
import { serverProblems } from './server-fields.ts';

export const API_VERSION = 'castellan/v1';

/** The name of the project that `/mcp` serves and that a token belongs to when it names none. */
export const DEFAULT_PROJECT = 'default';

/** An object as somebody wrote it, in a file or in a request; checked alone, not yet against the others. */
export type WrittenObject = {
  kind: KindName;
  name: string;
  /** Of a McpToken alone. */
  project?: string;
  /** Absent: none. */
  labels?: Labels;
  /** The version that it is a change of; absent: whatever there is. */
  resourceVersion?: string;
  /** As written: no defaults, `${…}` in place. */
  spec: Record<string, unknown>;
};

/** What GET answers and `get -o yaml` prints; `apply` takes it back. */
export type ResourceObject = {
  apiVersion: typeof API_VERSION;
  kind: KindName;
  metadata: {
    name: string;
    /** Absent when there are none. */
    labels?: Labels;
    uid: string;
    /** Changes with every change of the spec or the labels, and never comes back; opaque. */
    resourceVersion: string;
    /** ISO 8601. */
    createdAt: string;
    updatedAt: string;
    /** `api`, or `file:` and the path of the file that owns it. */
    managedBy: string;
  };
  spec: Record<string, unknown>;
  /** What the server knows of it now; in answers alone, and ignored in what is sent. */
  status?: { state: string; error?: string; [more: string]: unknown };
};

const OBJECT_KEYS = ['apiVersion', 'kind', 'metadata', 'spec'];
/** Keys that only an answer of ours carries; taken and ignored, so that what `get` printed can be applied. */
const ANSWER_KEYS = ['status'];
const METADATA_KEYS = ['name', 'project', 'labels'];
const METADATA_ANSWER_KEYS = ['uid', 'resourceVersion', 'createdAt', 'updatedAt', 'managedBy'];

/** Checks one object alone. On success `problems` is empty and `object` is there. */
export function checkObject(value: unknown): { object?: WrittenObject; problems: Problem[] } {
  if (!isMapping(value)) {
    return {
      problems: [{ path: [], message: 'is not an object: write apiVersion, kind, metadata and spec' }],
    };
  }
  const problems = [
    ...unknownKeys(value, OBJECT_KEYS, ANSWER_KEYS, []),
    ...apiVersionProblems(value.apiVersion),
  ];
  const kind = kindOfObject(value.kind, problems);
  if (!kind) return { problems };
  const metadata = checkMetadata(value.metadata, kind, problems);
  const spec = value.spec ?? {};
  problems.push(...forbiddenKeys(spec, ['spec']), ...SPEC_PROBLEMS[kind](spec));
  if (problems.length > 0) return { problems };
  return { problems, object: { kind, ...metadata, spec: spec as Record<string, unknown> } };
}

const SPEC_PROBLEMS: Record<KindName, (spec: unknown) => Problem[]> = {
  Policy: policyProblems,
  Secret: secretProblems,
  Server: serverProblems,
  Project: projectProblems,
  Group: groupProblems,
  User: userProblems,
  Rbac: rbacProblems,
  McpToken: tokenProblems,
  OAuthClient: clientProblems,
  Repository: repositoryProblems,
};

/** Of the kinds whose names are no plain ones. */
const NAME_FAULTS: Partial<Record<KindName, (name: unknown) => string | undefined>> = {
  User: userNameFault,
  McpToken: tokenNameFault,
  OAuthClient: clientNameFault,
};

function apiVersionProblems(apiVersion: unknown): Problem[] {
  if (apiVersion === API_VERSION || apiVersion === undefined) return [];
  return [{ path: ['apiVersion'], message: `is not known: write apiVersion: ${API_VERSION}` }];
}

function kindOfObject(kind: unknown, problems: Problem[]): KindName | undefined {
  if (typeof kind !== 'string') {
    problems.push({ path: ['kind'], message: `is missing: add one of ${knownKinds()}` });
    return undefined;
  }
  try {
    return kindOf(kind).kind;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    problems.push({ path: ['kind'], message: error.message });
    return undefined;
  }
}

function checkMetadata(
  value: unknown,
  kind: KindName,
  problems: Problem[],
): Omit<WrittenObject, 'kind' | 'spec'> {
  if (!isMapping(value)) {
    problems.push({ path: ['metadata'], message: 'is missing: add metadata: { name: … }' });
    return { name: '' };
  }
  problems.push(...unknownKeys(value, METADATA_KEYS, METADATA_ANSWER_KEYS, ['metadata']));
  const fault = (NAME_FAULTS[kind] ?? nameFault)(value.name);
  if (fault) problems.push({ path: ['metadata', 'name'], message: fault });
  const name = String(value.name);
  const more = labelsAndVersion(value, problems);
  if (kind !== 'McpToken') {
    if (value.project !== undefined) {
      const message =
        kind === 'Server'
          ? "a Server belongs to no project: remove it, and name servers in the project's spec"
          : `a ${kind} belongs to no project: remove it`;
      problems.push({ path: ['metadata', 'project'], message });
    }
    return { name, ...more };
  }
  const project = value.project ?? DEFAULT_PROJECT;
  const projectFault = nameFault(project);
  if (projectFault) problems.push({ path: ['metadata', 'project'], message: projectFault });
  return { name, project: String(project), ...more };
}

function labelsAndVersion(
  { labels, resourceVersion }: Record<string, unknown>,
  problems: Problem[],
): Pick<WrittenObject, 'labels' | 'resourceVersion'> {
  const faults = labelProblems(labels, ['metadata', 'labels']);
  if (resourceVersion !== undefined && typeof resourceVersion !== 'string') {
    const message = 'must be text: put it in quotes, or remove it to change whatever there is';
    faults.push({ path: ['metadata', 'resourceVersion'], message });
  }
  problems.push(...faults);
  if (faults.length > 0) return {};
  const some = labels !== undefined && Object.keys(labels as Labels).length > 0;
  return {
    ...(some ? { labels: labels as Labels } : {}),
    ...(resourceVersion === undefined ? {} : { resourceVersion: resourceVersion as string }),
  };
}

function unknownKeys(
  value: Record<string, unknown>,
  valid: readonly string[],
  ignored: readonly string[],
  path: FieldPath,
): Problem[] {
  return Object.keys(value)
    .filter((key) => !valid.includes(key) && !ignored.includes(key))
    .map((key) => ({ path: [...path, key], message: unknownKey(printable(key), valid) }));
}

/** `__proto__` as a key means nothing here and trouble elsewhere; schemas skip it silently, so it is refused first. */
function forbiddenKeys(value: unknown, path: FieldPath): Problem[] {
  if (Array.isArray(value)) return value.flatMap((item, index) => forbiddenKeys(item, [...path, index]));
  if (!isMapping(value)) return [];
  return Object.entries(value).flatMap(([key, item]) =>
    key === '__proto__'
      ? [{ path: [...path, key], message: 'is not a valid key: rename it' }]
      : forbiddenKeys(item, [...path, key]),
  );
}
