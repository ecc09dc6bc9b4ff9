import { Refusal } from '../../base/errors.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import { type Removed, removedByCeiling } from '../../identity/ceiling-report.ts';
import { type Ask, askText, mayAny, type RoleAsk } from '../../identity/decide.ts';
import { lacks } from '../../identity/guards.ts';
import type { TokenRecord } from '../../identity/token-record.ts';
import type { Tokens } from '../../identity/tokens.ts';
import { expiryOf } from '../../identity/ttl.ts';
import type { Role } from '../../resources/bindings.ts';
import { checkObject } from '../../resources/objects.ts';
import { describeProblems } from '../../resources/problems.ts';
import type { Resources } from '../../resources/registry.ts';
import { isSelected } from '../../resources/selectors.ts';
import { locateField } from '../../resources/snapshot.ts';
import type { ProjectEntry } from '../../resources/spec.ts';
import { introspection } from './introspection.ts';
import { type ApiContext, flag, jsonObject } from './responses.ts';
import { notThere, type Route, refuseOutside } from './route.ts';
import { DRY_RUN, OF_PROJECT, SELECTION } from './route-doc.ts';
import { selectorOf } from './selection.ts';
import { newToken, plannedToken, type TokenWish, tokenObject } from './token-objects.ts';

type TokenDeps = { authorizer: Authorizer; resources: Resources; tokens: Tokens };

/** `/mcptokens`: the raw token leaves once, in the answer that made it. */
export function tokenRoutes(deps: TokenDeps): Route[] {
  const { tokens } = deps;
  return [
    ...introspection(deps),
    {
      method: 'GET',
      path: '/mcptokens',
      need: { list: (c) => ({ resource: 'mcptokens', project: listedProject(c) }) },
      doc: {
        summary: 'List tokens, revoked and expired ones too',
        query: { ...OF_PROJECT, ...SELECTION },
        answer: 'McpTokenList',
      },
      handle: async (c) => {
        const project = listedProject(c);
        if (project !== undefined) projectOf(deps, c, project);
        const records = (await tokens.list(project)).filter((record) => isSeen(deps, c, record));
        const selector = await selectorOf(c, 'McpToken');
        const items = records
          .map((record) => tokenObject(record))
          .filter((object) => isSelected(object, selector));
        return c.json({ items });
      },
    },
    // Making a token asks by itself, in the transaction in which the creator's rights cannot change.
    {
      method: 'POST',
      path: '/mcptokens',
      need: 'credential',
      doc: {
        summary: 'Create a token',
        query: DRY_RUN,
        body: 'TokenWish',
        answer: 'McpTokenChange',
        status: 201,
      },
      handle: (c) => orLacking(deps, c, create),
    },
    {
      method: 'PUT',
      path: '/mcptokens/:name',
      need: 'credential',
      doc: {
        summary: 'Create a token, unless an active one has its name',
        query: { ...OF_PROJECT, ...DRY_RUN },
        body: 'McpToken',
        answer: 'McpTokenChange',
      },
      handle: (c) => orLacking(deps, c, apply),
    },
    ...ownRoutes(deps),
  ];
}

/** What is done to one token. */
function ownRoutes(deps: TokenDeps): Route[] {
  const { tokens } = deps;
  const asking = (role: Role) => ({ ask: (c: ApiContext) => askOf(deps, c, role) });
  return [
    {
      method: 'GET',
      path: '/mcptokens/:name',
      need: asking('view'),
      doc: { summary: 'Show a token and what the ceiling removes', query: OF_PROJECT, answer: 'McpToken' },
      handle: async (c) => {
        const record = await tokenOf(deps, c);
        return c.json(tokenObject(record, await removedOf(deps, record)));
      },
    },
    {
      method: 'DELETE',
      path: '/mcptokens/:name',
      need: asking('delete'),
      doc: {
        summary: 'End a token and forget it',
        query: { ...OF_PROJECT, ...DRY_RUN },
        answer: 'McpTokenChange',
      },
      handle: async (c) => {
        const record = await tokenOf(deps, c);
        if (!flag(c, 'dryRun')) await removeToken(tokens, record, c);
        return c.json({ action: 'deleted', object: tokenObject(record) });
      },
    },
    {
      method: 'POST',
      path: '/mcptokens/:name/revoke',
      need: asking('edit'),
      doc: {
        summary: 'End a token and keep its row',
        query: { ...OF_PROJECT, ...DRY_RUN },
        answer: 'McpTokenChange',
      },
      handle: async (c) => {
        const record = await tokenOf(deps, c);
        if (flag(c, 'dryRun')) return c.json({ action: 'revoked', object: tokenObject(record) });
        const revoked = await tokens.revoke(undefined, record.id);
        return c.json({ action: 'revoked', object: tokenObject(revoked) });
      },
    },
    {
      method: 'POST',
      path: '/mcptokens/:name/rotate',
      need: asking('edit'),
      doc: {
        summary: 'Give a token a new secret',
        query: { ...OF_PROJECT, overlap: { description: 'How long the old secret goes on, such as 1h.' } },
        answer: 'McpTokenChange',
        status: 201,
      },
      handle: (c) => rotate(deps, c),
    },
  ];
}

function listedProject(c: ApiContext): string | undefined {
  const { project } = c.get('caller');
  return c.req.query('project') ?? (project === '*' ? undefined : project);
}

/** How long the old secret goes on, ms: `overlap=1h`; nothing without it. */
export function overlapOf(c: ApiContext): number {
  const text = c.req.query('overlap');
  if (text === undefined || text === '0' || text === '0s') return 0;
  const now = Date.now();
  const until = expiryOf(text, now, 'overlap');
  if (until === null) throw new Refusal('invalid', 'overlap: write a time such as 1h');
  return until - now;
}

/** Whoever may create no token at all hears that, and not what else is wrong with the request. */
async function orLacking(
  deps: TokenDeps,
  c: ApiContext,
  work: (deps: TokenDeps, c: ApiContext) => Promise<Response>,
): Promise<Response> {
  try {
    return await work(deps, c);
  } catch (error) {
    const layers = deps.authorizer.rights().layersOf(c.get('caller'));
    const project = c.get('caller').project;
    const ask: RoleAsk = { role: 'create', resource: 'mcptokens', ...(project === '*' ? {} : { project }) };
    if (!(error instanceof Refusal) || error.kind === 'forbidden' || mayAny(layers, ask)) throw error;
    throw lacks(askText(ask), ', which creating a token needs');
  }
}

async function create(deps: TokenDeps, c: ApiContext): Promise<Response> {
  const { project, ...wish } = await jsonObject(c);
  if (typeof project !== 'string') throw new Refusal('invalid', 'project: is missing: name the project');
  if (typeof wish.name !== 'string') throw new Refusal('invalid', 'name: is missing: name the token');
  const known = ['name', 'rbac', 'binds', 'surfaces', 'ttl', 'description', 'labels', 'force'];
  const unknown = Object.keys(wish).find((key) => !known.includes(key));
  if (unknown)
    throw new Refusal('invalid', `${unknown}: unknown key: use one of project, ${known.join(', ')}`);
  const wanted = newToken(wish as TokenWish, projectOf(deps, c, project), c.get('caller'), Date.now());
  if (flag(c, 'dryRun')) {
    await deps.tokens.check(wanted);
    return c.json({ action: 'created', object: plannedToken(wanted) }, 201);
  }
  const { record, raw } = await deps.tokens.create(wanted);
  return c.json({ action: 'created', object: tokenObject(record), token: raw }, 201);
}

async function rotate(deps: TokenDeps, c: ApiContext): Promise<Response> {
  const made = await deps.tokens.rotate(await tokenOf(deps, c), c.get('caller'), overlapOf(c));
  return c.json({ action: 'rotated', object: tokenObject(made.record), token: made.raw }, 201);
}

/** What `apply` sends for a token: made when no active one has its name, and left alone otherwise. */
async function apply(deps: TokenDeps, c: ApiContext): Promise<Response> {
  const body = await jsonObject(c);
  const { object, problems } = checkObject(body);
  if (!object) throw new Refusal('invalid', describeProblems(problems.map(locateField)));
  if (object.kind !== 'McpToken' || object.name !== c.req.param('name')) {
    throw new Refusal(
      'invalid',
      `metadata.name: the body must be the McpToken ${c.req.param('name')} of the path`,
    );
  }
  const project = projectOf(deps, c, object.project ?? '');
  const held = (await deps.tokens.list(project.name)).find(
    (record) => record.name === object.name && record.status === 'active',
  );
  if (held && isSeen(deps, c, held)) return c.json({ action: 'unchanged', object: tokenObject(held) });
  const wanted = newToken(
    { name: object.name, labels: object.labels, ...object.spec },
    project,
    c.get('caller'),
    Date.now(),
  );
  if (flag(c, 'dryRun')) {
    await deps.tokens.check(wanted);
    return c.json({ action: 'created', object: plannedToken(wanted) });
  }
  const { record, raw } = await deps.tokens.create(wanted);
  return c.json({ action: 'created', object: tokenObject(record), token: raw });
}

/** The project of a request, for those who may know of it. */
function projectOf({ resources, authorizer }: TokenDeps, c: ApiContext, name: string): ProjectEntry {
  const caller = c.get('caller');
  refuseOutside(caller, name);
  const { projects } = resources.snapshot();
  const project = projects.get(name) ?? [...projects.values()].find((one) => one.uid === name);
  const foreign = caller.projectUid !== undefined && caller.projectUid !== project?.uid;
  if (project && !foreign) return project;
  if (!authorizer.decide(caller, { role: 'view', resource: 'projects' }).allowed)
    throw notThere({ resource: 'projects', name });
  const known = [...projects.keys()].slice(0, 20).join(', ');
  throw new Refusal('not_found', `there is no project ${name}${known ? `; there are ${known}` : ''}`);
}

/** Another project's token of an earlier namesake of this project belongs to nobody here. */
function isSeen({ authorizer }: TokenDeps, c: ApiContext, record: TokenRecord): boolean {
  return authorizer.decide(c.get('caller'), tokenAsk('view', record)).allowed;
}

function tokenAsk(role: Role, { name, project }: Pick<TokenRecord, 'name' | 'project'>): Ask {
  return { role, resource: 'mcptokens', name, project: project.name };
}

async function askOf(deps: TokenDeps, c: ApiContext, role: Role): Promise<Ask> {
  const record = await found(deps, c);
  if (record) return tokenAsk(role, record);
  const project = listedProject(c);
  const name = c.req.param('name') ?? '';
  return { role, resource: 'mcptokens', name, ...(project === undefined ? {} : { project }) };
}

async function tokenOf(deps: TokenDeps, c: ApiContext): Promise<TokenRecord> {
  const record = await found(deps, c);
  if (record) return record;
  const project = c.req.query('project');
  const where = project === undefined ? '' : ` in project ${project}`;
  throw new Refusal('not_found', `there is no token ${c.req.param('name')}${where}`);
}

/** By name in the project of the query, or by id; without a project, a name that only one project uses. */
async function found(deps: TokenDeps, c: ApiContext): Promise<TokenRecord | undefined> {
  const name = c.req.param('name') ?? '';
  const project = listedProject(c);
  if (project !== undefined || name.startsWith('mct_')) return deps.tokens.find(project, name);
  const all = await deps.tokens.list();
  const named = all.filter((record) => record.name === name && isSeen(deps, c, record));
  const projects = [...new Set(named.map((record) => record.project.name))];
  if (projects.length > 1) {
    throw new Refusal(
      'invalid',
      `project: several projects have a token ${name} (${projects.join(', ')}); name one`,
    );
  }
  return projects[0] === undefined ? undefined : deps.tokens.find(projects[0], name);
}

/** A name stands for the token that holds it and those that held it before; an id for one alone. */
async function removeToken(tokens: Tokens, record: TokenRecord, c: ApiContext): Promise<void> {
  if (c.req.param('name') === record.id) await tokens.remove(undefined, record.id);
  else await tokens.remove(record.project.name, record.name);
}

/** What the ceilings take away of an active token. */
async function removedOf({ tokens, authorizer }: TokenDeps, record: TokenRecord): Promise<Removed[]> {
  const caller = await tokens.callerOf(record.hash);
  if (!caller) return [];
  const [, ...ceilings] = authorizer.rights().layersOf(caller);
  return removedByCeiling(record.bindings, record.project.name, ceilings);
}
