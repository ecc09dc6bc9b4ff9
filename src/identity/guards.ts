/**
 * What a change of an object needs beside the right to change objects of its kind, as rights are when it happens:
 * nobody gives what they lack, starts processes or sends secrets somewhere without the right to, and an administrator
 * remains.
 */
import { canonicalJson } from '../base/canonical-json.ts';
import { Refusal } from '../base/errors.ts';
import { canonicalName } from '../protocol/names.ts';
import type { RbacFields, UserFields } from '../resources/access-fields.ts';
import { type Binding, type BoundResource, bindingText } from '../resources/bindings.ts';
import type { ClientFields } from '../resources/client-fields.ts';
import { secretReferences } from '../resources/expansion.ts';
import type { ChangeCheck, PlannedChange } from '../resources/layer-edit.ts';
import { addedServers, loosenedField } from '../resources/project-changes.ts';
import type { Access, Subject } from '../resources/spec.ts';
import type { AuthenticatedCaller } from './caller.ts';
import { mayGive } from './ceiling.ts';
import { type Ask, decide, isAdministrator, type Layer } from './decide.ts';
import { RightsIndex } from './rights.ts';

const RESOURCE_OF: Readonly<Record<PlannedChange['kind'], BoundResource>> = {
  Policy: 'policies',
  Secret: 'secrets',
  Server: 'servers',
  Project: 'projects',
  Group: 'groups',
  User: 'users',
  Rbac: 'rbac',
  OAuthClient: 'oauthclients',
  Repository: 'repositories',
};

/** The resource that bindings name for objects of a kind. */
export function resourceOf(kind: PlannedChange['kind']): BoundResource {
  return RESOURCE_OF[kind];
}

/** Every condition on a change that this caller makes. The check throws a Refusal. */
export function guardsFor(caller: AuthenticatedCaller): ChangeCheck {
  return (change) => {
    const index = new RightsIndex(change.before());
    const layers = index.layersOf(caller);
    demand(layers, changeAsk(change));
    if (change.kind === 'Server') {
      guardProcesses(layers, change);
      guardSecrets(layers, change, (spec) => SECRET_FIELDS.map((field) => spec?.[field] ?? null));
      guardHealthCheck(layers, change);
    }
    if (change.kind === 'Policy') guardSecrets(layers, change, notifiesOf);
    if (change.kind === 'Project') guardProject(layers, change);
    if (change.kind === 'Rbac') guardGrants(layers, change);
    if (change.kind === 'User') guardMembership(layers, index, change);
    if (change.kind === 'OAuthClient') guardClient(caller, index, change);
    guardLastAdministrator(change);
  };
}

/** @throws Refusal `forbidden` naming the right that is missing */
export function demand(layers: readonly Layer[], ask: Ask, why = ''): void {
  const decision = decide(layers, ask);
  if (!decision.allowed) throw lacks(decision.missing, why);
}

export function lacks(missing: string, why = ''): Refusal {
  return new Refusal('forbidden', `you do not have ${missing}${why}`);
}

function changeAsk({ kind, name, existing, wanted }: PlannedChange): Ask {
  const role = wanted === undefined ? 'delete' : existing ? 'edit' : 'create';
  const project = kind === 'Project' ? { project: name } : {};
  return { role, resource: RESOURCE_OF[kind], name, ...project };
}

const PROCESS_FIELDS = ['command', 'args', 'env', 'cwd'];

function guardProcesses(layers: readonly Layer[], { existing, wanted }: PlannedChange): void {
  if (wanted === undefined) return;
  const same = fieldsText(wanted, PROCESS_FIELDS) === fieldsText(existing?.spec, PROCESS_FIELDS);
  const starts = wanted.command !== undefined && isEager(wanted) && !isEager(existing?.spec);
  if (same && !starts) return;
  demand(layers, { action: 'spawn' }, ', which starting or changing a process needs');
}

function isEager(spec: Record<string, unknown> | undefined): boolean {
  return (spec?.lifecycle as { connect?: string } | undefined)?.connect === 'eager';
}

const SECRET_FIELDS = [...PROCESS_FIELDS, 'url', 'headers', 'auth'];

/** Where a policy has its notices sent. */
const notifiesOf = (spec: Record<string, unknown> | undefined) =>
  ((spec?.rules ?? []) as { notify?: object }[]).flatMap(({ notify }) => notify ?? []);

/** Whoever may say where a server is, what it runs or where notices go has the secrets sent there. */
function guardSecrets(
  layers: readonly Layer[],
  { kind, existing, wanted }: PlannedChange,
  places: (spec: Record<string, unknown> | undefined) => unknown[],
): void {
  if (wanted === undefined) return;
  const uses = (spec: unknown) => new Set(secretReferences(spec).map(({ name }) => name));
  const before = uses(existing?.spec);
  const changed = canonicalJson(places(wanted)) !== canonicalJson(places(existing?.spec));
  const why = `, which a ${kind.toLowerCase()} that refers to it needs`;
  for (const name of uses(wanted)) {
    if (!changed && before.has(name)) continue;
    demand(layers, { role: 'use', resource: 'secrets', name }, why);
  }
}

/** Castellan calls that tool again and again, whoever set it and whatever policies say. */
function guardHealthCheck(layers: readonly Layer[], { name, existing, wanted }: PlannedChange): void {
  const toolOf = (spec: Record<string, unknown> | undefined) =>
    (spec?.healthCheck as { tool?: string } | undefined)?.tool;
  const tool = toolOf(wanted);
  if (tool === undefined || tool === toolOf(existing?.spec)) return;
  const ask = { role: 'run', resource: 'tools', name: canonicalName(name, tool) } as const;
  demand(layers, ask, ', which a health check that calls it needs');
}

/**
 * Policies, limits and the audit of a call are those of the project that it comes by: whoever says which servers a
 * project has, says what holds for their tools.
 */
function guardProject(layers: readonly Layer[], { name, existing, wanted }: PlannedChange): void {
  if (wanted === undefined) return;
  for (const server of addedServers(existing?.spec, wanted))
    demand(
      layers,
      { role: 'edit', resource: 'servers', name: server },
      ', which adding it to a project needs',
    );
  const field = loosenedField(existing?.spec, wanted);
  if (field === undefined) return;
  demand(
    layers,
    { role: 'admin', resource: 'projects', name, project: name },
    `, which loosening ${field} needs`,
  );
}

function fieldsText(spec: Record<string, unknown> | undefined, fields: readonly string[]): string {
  return canonicalJson(fields.map((field) => spec?.[field] ?? null));
}

/** New bindings need `escalate` where the caller lacks them, new subjects of such bindings `bind`. */
function guardGrants(layers: readonly Layer[], { existing, wanted }: PlannedChange): void {
  if (wanted === undefined) return;
  const before = (existing?.spec ?? {}) as RbacFields;
  const after = wanted as RbacFields;
  const known = new Set((before.roleBindings ?? []).map(bindingText));
  const added = (after.roleBindings ?? []).filter((binding) => !known.has(bindingText(binding)));
  refuseBeyond(layers, added, 'escalate', 'spec.roleBindings');
  if (!existing) return;
  const subjects = new Set((before.subjects ?? []).map(subjectText));
  if ((after.subjects ?? []).every((subject) => subjects.has(subjectText(subject)))) return;
  refuseBeyond(layers, after.roleBindings ?? [], 'bind', 'spec.subjects');
}

/**
 * A new member gets what the group has; a new user also what Rbac objects have ready for that name, and so does one
 * that is no longer disabled.
 */
function guardMembership(layers: readonly Layer[], index: RightsIndex, change: PlannedChange): void {
  const { existing, wanted, name } = change;
  if (wanted === undefined) return;
  const fields = (existing?.spec ?? {}) as UserFields;
  const after = wanted as UserFields;
  const enabled = fields.disabled === true && after.disabled !== true;
  const before = new Set(enabled ? [] : fields.groups);
  const joined = (after.groups ?? []).filter((group) => !before.has(group));
  const gained = joined.flatMap((group) => index.granted(`Group:${group}`));
  if (!existing || enabled) gained.push(...index.granted(`User:${name}`));
  const bindings = gained.map(({ binding }) => binding);
  const field = enabled ? 'spec.disabled' : joined.length > 0 ? 'spec.groups' : 'metadata.name';
  refuseBeyond(layers, bindings, 'bind', field);
}

/** What the client was and what it becomes both have to be the caller's to change. */
function guardClient(
  caller: AuthenticatedCaller,
  index: RightsIndex,
  { existing, wanted }: PlannedChange,
): void {
  if (wanted === undefined || canonicalJson(existing?.spec ?? null) === canonicalJson(wanted)) return;
  for (const spec of [existing?.spec, wanted]) demandSponsor(caller, index, (spec ?? {}) as ClientFields);
}

/** @throws Refusal `forbidden` naming the right that is missing */
export function demandSponsor(
  caller: AuthenticatedCaller,
  index: RightsIndex,
  client: Pick<ClientFields, 'user' | 'autoApprove'>,
): void {
  const inPerson = caller.principal === `User:${client.user}` && caller.ceilings.length === 0;
  const fault = sponsorFault(index.layersOf(caller), index, client, inPerson);
  if (fault) throw fault;
}

/**
 * Why somebody cannot answer for a client that acts for a user unasked. It does what the user may do, so that takes
 * `impersonate` and every right of that user; users answer for their own clients themselves, `autoApprove` aside.
 */
export function sponsorFault(
  layers: readonly Layer[],
  index: RightsIndex,
  { user, autoApprove }: Pick<ClientFields, 'user' | 'autoApprove'>,
  own: boolean,
): Refusal | undefined {
  if (user === undefined || (own && autoApprove !== true)) return undefined;
  const decision = decide(layers, { action: 'impersonate' });
  if (!decision.allowed) return lacks(decision.missing, `, which a client that acts for ${user} needs`);
  const beyond = firstBeyond(
    layers,
    index.of(`User:${user}`).map(({ binding }) => binding),
  );
  return beyond && lacks(bindingText(beyond), ` yourself, which ${user} has and the client would use`);
}

function refuseBeyond(
  layers: readonly Layer[],
  bindings: readonly Binding[],
  action: 'escalate' | 'bind',
  field: string,
): void {
  const beyond = firstBeyond(layers, bindings);
  if (!beyond || decide(layers, { action }).allowed) return;
  throw new Refusal(
    'forbidden',
    `${field}: you do not have ${bindingText(beyond)} yourself; giving it needs action:${action}`,
  );
}

/** The first binding that some layer does not cover. */
export function firstBeyond(layers: readonly Layer[], bindings: readonly Binding[]): Binding | undefined {
  const held = layers.map(({ rights }) => rights.map(({ binding }) => binding));
  return bindings.find((binding) => held.length === 0 || !held.every((one) => mayGive(one, binding)));
}

function guardLastAdministrator(change: PlannedChange): void {
  if (change.kind !== 'User' && change.kind !== 'Group' && change.kind !== 'Rbac') return;
  const [last] = administrators(change.before());
  if (last === undefined || administrators(change.after()).length > 0) return;
  throw new Refusal(
    'conflict',
    `${last} is the last administrator: first give another user role:admin,resource:*`,
  );
}

/** Names of the users who may do everything. */
export function administrators(access: Access): string[] {
  const index = new RightsIndex(access);
  return [...access.users.keys()].filter((name) =>
    index.of(`User:${name}`).some(({ binding }) => isAdministrator(binding)),
  );
}

const subjectText = ({ kind, name }: Subject) => `${kind}:${name}`;
