import { Hono } from 'hono';
import { Refusal } from '../../base/errors.ts';
import type { TokenRecord } from '../../identity/token-record.ts';
import type { Tokens } from '../../identity/tokens.ts';
import { checkObject } from '../../resources/objects.ts';
import { describeProblems } from '../../resources/problems.ts';
import type { Resources } from '../../resources/registry.ts';
import { locateField } from '../../resources/snapshot.ts';
import type { ProjectEntry } from '../../resources/spec.ts';
import { requireUser } from './bearer.ts';
import { type ApiContext, type ApiEnv, flag, jsonObject } from './responses.ts';
import { newToken, type TokenWish, tokenObject } from './token-objects.ts';

export type TokenDeps = { resources: Resources; tokens: Tokens };

/** `/mcptokens`: the raw token leaves once, in the answer that made it. */
export function tokenRoutes(deps: TokenDeps): Hono<ApiEnv> {
  const { tokens } = deps;
  return new Hono<ApiEnv>()
    .get('/introspect', async (c) => c.json(await introspect(c, tokens)))
    .get('/', async (c) => {
      requireUser(c);
      const project = c.req.query('project');
      if (project !== undefined) projectOf(deps, project);
      return c.json({ items: (await tokens.list(project)).map(tokenObject) });
    })
    .post('/', async (c) => {
      const caller = requireUser(c);
      const { project, ...wish } = await jsonObject(c);
      if (typeof project !== 'string') throw new Refusal('invalid', 'project: is missing: name the project');
      if (typeof wish.name !== 'string') throw new Refusal('invalid', 'name: is missing: name the token');
      const known = ['name', 'rbac', 'binds', 'surfaces', 'ttl', 'description', 'force'];
      const unknown = Object.keys(wish).find((key) => !known.includes(key));
      if (unknown)
        throw new Refusal('invalid', `${unknown}: unknown key: use one of project, ${known.join(', ')}`);
      const wanted = newToken(wish as TokenWish, projectOf(deps, project), caller, Date.now());
      const { record, raw } = await tokens.create(wanted);
      return c.json({ object: tokenObject(record), token: raw }, 201);
    })
    .get('/:name', async (c) => {
      requireUser(c);
      return c.json(tokenObject(await find(tokens, c)));
    })
    .put('/:name', async (c) => {
      requireUser(c);
      return c.json(await apply(c, deps));
    })
    .delete('/:name', async (c) => {
      requireUser(c);
      const record = await find(tokens, c);
      if (!flag(c, 'dryRun')) await removeToken(tokens, record, c);
      return c.json({ action: 'deleted', object: tokenObject(record) });
    })
    .post('/:name/revoke', async (c) => {
      requireUser(c);
      const record = await find(tokens, c);
      if (flag(c, 'dryRun')) return c.json({ action: 'revoked', object: tokenObject(record) });
      const revoked = await tokens.revoke(undefined, record.id);
      return c.json({ action: 'revoked', object: tokenObject(revoked) });
    });
}

/** Describes the bearer presented and nothing else. */
async function introspect(c: ApiContext, tokens: Tokens): Promise<Record<string, unknown>> {
  const caller = c.get('caller');
  const base = {
    active: true,
    principal: caller.principal,
    owner: caller.owner,
    project: caller.project,
    surfaces: [...caller.surfaces].sort(),
  };
  if (caller.tokenId === undefined) return base;
  const { metadata, spec, status } = tokenObject(await tokens.get(undefined, caller.tokenId));
  return {
    ...base,
    name: metadata.name,
    createdAt: metadata.createdAt,
    description: spec.description,
    ...status,
  };
}

function projectOf({ resources }: TokenDeps, name: string): ProjectEntry {
  const { projects } = resources.snapshot();
  const project = projects.get(name) ?? [...projects.values()].find((one) => one.uid === name);
  if (project) return project;
  const known = [...projects.keys()].slice(0, 20).join(', ');
  throw new Refusal('not_found', `there is no project ${name}${known ? `; there are ${known}` : ''}`);
}

/** By name in the project of the query, or by id; without a project, a name that only one project uses. */
async function find(tokens: Tokens, c: ApiContext): Promise<TokenRecord> {
  const name = c.req.param('name') ?? '';
  const project = c.req.query('project');
  if (project !== undefined || name.startsWith('mct_')) return tokens.get(project, name);
  const named = (await tokens.list()).filter((record) => record.name === name);
  const projects = [...new Set(named.map((record) => record.project.name))];
  if (projects.length > 1) {
    throw new Refusal(
      'invalid',
      `project: several projects have a token ${name} (${projects.join(', ')}); name one`,
    );
  }
  return tokens.get(projects[0], name);
}

/** A name stands for the token that holds it and those that held it before; an id for one alone. */
async function removeToken(tokens: Tokens, record: TokenRecord, c: ApiContext): Promise<void> {
  if (c.req.param('name') === record.id) await tokens.remove(undefined, record.id);
  else await tokens.remove(record.project.name, record.name);
}

/** What `apply` sends for a token: made when no active one has its name, and left alone otherwise. */
async function apply(c: ApiContext, deps: TokenDeps): Promise<Record<string, unknown>> {
  const body = await jsonObject(c);
  const { object, problems } = checkObject(body);
  if (!object) throw new Refusal('invalid', describeProblems(problems.map(locateField)));
  if (object.kind !== 'McpToken' || object.name !== c.req.param('name')) {
    throw new Refusal(
      'invalid',
      `metadata.name: the body must be the McpToken ${c.req.param('name')} of the path`,
    );
  }
  const project = projectOf(deps, object.project ?? '');
  const held = (await deps.tokens.list(project.name)).find(
    (record) => record.name === object.name && record.status === 'active',
  );
  if (held) return { action: 'unchanged', object: tokenObject(held) };
  const wanted = newToken({ name: object.name, ...object.spec }, project, c.get('caller'), Date.now());
  if (flag(c, 'dryRun')) return { action: 'created', object: body };
  const { record, raw } = await deps.tokens.create(wanted);
  return { action: 'created', object: tokenObject(record), token: raw };
}
