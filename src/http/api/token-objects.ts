import { Refusal } from '../../base/errors.ts';
import type { AuthenticatedCaller } from '../../identity/caller.ts';
import type { Removed } from '../../identity/ceiling-report.ts';
import type { NewToken } from '../../identity/new-token.ts';
import type { TokenRecord } from '../../identity/token-record.ts';
import { expiryOf } from '../../identity/ttl.ts';
import { type Binding, bindingText, checkBinding } from '../../resources/bindings.ts';
import { type Labels, labelProblems } from '../../resources/labels.ts';
import { describeProblems } from '../../resources/problems.ts';
import { locateField } from '../../resources/snapshot.ts';
import type { ProjectEntry, Surface } from '../../resources/spec.ts';

/** The `kind: McpToken` that GET answers. The raw token is never part of it. */
export type TokenObject = {
  apiVersion: 'castellan/v1';
  kind: 'McpToken';
  metadata: { name: string; project: string; labels?: Labels; uid: string; createdAt: string };
  spec: {
    rbac: 'empty' | 'clone';
    /** What an empty token was given; a clone has what its creator had. */
    binds?: Binding[];
    surfaces: Surface[];
    ttl: string;
    description?: string;
  };
  status: {
    status: TokenRecord['status'];
    prefix: string;
    owner: string;
    /** What Rbac objects name it by. */
    principal: string;
    bindings: string[];
    /** Bindings that do not give what they say, because an owner lacks it or because it lies elsewhere. */
    removed?: readonly Removed[];
    lastUsedAt: string | null;
    expiresAt: string | null;
    revokedAt: string | null;
  };
};

const iso = (time: number | null) => (time === null ? null : new Date(time).toISOString());

export function tokenObject(record: TokenRecord, removed?: readonly Removed[]): TokenObject {
  const { description, labels, rbac, bindings } = record;
  return {
    apiVersion: 'castellan/v1',
    kind: 'McpToken',
    metadata: {
      name: record.name,
      project: record.project.name,
      ...(Object.keys(labels).length > 0 ? { labels } : {}),
      uid: record.id,
      createdAt: new Date(record.createdAt).toISOString(),
    },
    spec: {
      rbac,
      ...(rbac === 'empty' && bindings.length > 0 ? { binds: bindings } : {}),
      surfaces: record.surfaces,
      ttl: iso(record.expiresAt) ?? 'never',
      ...(description ? { description } : {}),
    },
    status: {
      status: record.status,
      prefix: record.prefix,
      owner: record.owner ?? '(deleted)',
      principal: `McpToken:${record.hash}`,
      bindings: bindings.map(bindingText),
      ...(removed === undefined ? {} : { removed }),
      lastUsedAt: iso(record.lastUsedAt),
      expiresAt: iso(record.expiresAt),
      revokedAt: iso(record.revokedAt),
    },
  };
}

/** What a dry run says of a token that would be made. */
export function plannedToken(wanted: NewToken): Record<string, unknown> {
  const { name, project, labels, rbac, binds, surfaces, expiresAt, description } = wanted;
  return {
    apiVersion: 'castellan/v1',
    kind: 'McpToken',
    metadata: { name, project: project.name, ...(labels && { labels }) },
    spec: { rbac, binds, surfaces, ttl: iso(expiresAt) ?? 'never', description },
  };
}

/** What a caller asks a token to be; field names as in `spec`. */
export type TokenWish = {
  name: string;
  rbac?: unknown;
  binds?: unknown;
  surfaces?: unknown;
  ttl?: unknown;
  description?: unknown;
  labels?: unknown;
  force?: unknown;
};

/** Paths of the API that would hide a token of this name. */
const RESERVED_NAMES = ['introspect'];

/** Checks a wish field by field. @throws Refusal `invalid` naming the field and the fix */
export function newToken(
  wish: TokenWish,
  project: ProjectEntry,
  caller: AuthenticatedCaller,
  now: number,
): NewToken {
  if (RESERVED_NAMES.includes(wish.name)) {
    throw new Refusal('invalid', `name: "${wish.name}" is reserved; use another name`);
  }
  const faults = labelProblems(wish.labels, ['labels']);
  if (faults.length > 0) throw new Refusal('invalid', describeProblems(faults.map(locateField)));
  const ttl = textOr(wish.ttl, 'ttl', 'never');
  return {
    name: wish.name,
    project: { name: project.name, uid: project.uid },
    creator: caller,
    surfaces: surfacesOf(wish.surfaces),
    rbac: rbacOf(wish.rbac),
    binds: bindsOf(wish.binds),
    expiresAt: expiryOf(ttl, now),
    description: textOr(wish.description, 'description', ''),
    ...(wish.labels === undefined ? {} : { labels: wish.labels as Labels }),
    force: booleanOr(wish.force, 'force'),
  };
}

function rbacOf(value: unknown): 'empty' | 'clone' {
  if (value === undefined || value === 'empty') return 'empty';
  if (value === 'clone') return 'clone';
  throw new Refusal('invalid', 'rbac: must be empty or clone');
}

function surfacesOf(value: unknown): Surface[] {
  if (value === undefined) return ['consumer'];
  if (Array.isArray(value) && value.length > 0 && value.every(isSurface)) return [...value];
  throw new Refusal('invalid', 'surfaces: must be a list of consumer, operator or both');
}

function isSurface(value: unknown): value is Surface {
  return value === 'consumer' || value === 'operator';
}

function bindsOf(value: unknown): Binding[] {
  if (value === undefined) return [];
  if (!Array.isArray(value))
    throw new Refusal('invalid', 'binds: must be a list of {role, resource, name?, project?} or {action}');
  return value.map((bind, index) => checkBinding(bind, `binds[${index}]`));
}

function textOr(value: unknown, field: string, fallback: string): string {
  if (value === undefined) return fallback;
  if (typeof value === 'string') return value;
  throw new Refusal('invalid', `${field}: must be text`);
}

function booleanOr(value: unknown, field: string): boolean {
  if (value === undefined || typeof value === 'boolean') return value ?? false;
  throw new Refusal('invalid', `${field}: must be true or false`);
}
