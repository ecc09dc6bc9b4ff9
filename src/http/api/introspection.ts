import { Refusal } from '../../base/errors.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import type { Tokens } from '../../identity/tokens.ts';
import { type ApiContext, jsonObject } from './responses.ts';
import type { Route } from './route.ts';
import { tokenObject } from './token-objects.ts';

type Deps = { authorizer: Authorizer; tokens: Tokens };

const MAX_TOKEN = 512;

/** GET describes the bearer presented and nothing else; POST is RFC 7662, for holders of the action `introspect`. */
export function introspection(deps: Deps): Route[] {
  const path = '/mcptokens/introspect';
  return [
    {
      method: 'GET',
      path,
      need: 'credential',
      doc: { summary: 'Describe the bearer presented', answer: 'Introspection' },
      handle: async (c) => c.json(await ofBearer(c, deps)),
    },
    {
      method: 'POST',
      path,
      need: 'credential',
      doc: {
        summary: 'Describe a token (RFC 7662)',
        body: 'IntrospectionForm',
        form: true,
        answer: 'Introspection',
      },
      handle: async (c) => c.json(await ofPresented(c, deps)),
    },
  ];
}

async function ofBearer(c: ApiContext, { tokens }: Deps): Promise<Record<string, unknown>> {
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

/** Whoever may not ask, and whatever is not active, gets the same answer (RFC 7662 2.2). */
async function ofPresented(c: ApiContext, { tokens, authorizer }: Deps): Promise<Record<string, unknown>> {
  const inactive = { active: false };
  const raw = await presentedToken(c);
  if (raw.length > MAX_TOKEN) return inactive;
  const record = await tokens.ofRaw(raw);
  if (!record) return inactive;
  const project = record.project.name;
  if (!authorizer.decide(c.get('caller'), { action: 'introspect', project }).allowed) return inactive;
  const caller = await tokens.callerOf(record.hash);
  if (!caller) return inactive;
  return {
    active: true,
    token_type: 'Bearer',
    scope: record.surfaces.includes('operator') ? 'mcp mcp:operator' : 'mcp',
    sub: caller.principal,
    username: caller.owner,
    iat: Math.floor(record.createdAt / 1000),
    ...(record.expiresAt === null ? {} : { exp: Math.floor(record.expiresAt / 1000) }),
    project,
    surfaces: record.surfaces,
    name: record.name,
  };
}

/** The token asked about: a form field, as RFC 7662 has it, or the same in JSON. @throws Refusal `invalid` */
async function presentedToken(c: ApiContext): Promise<string> {
  const isJson = /^application\/json\b/i.test(c.req.header('content-type') ?? '');
  const given: unknown[] = isJson
    ? [(await jsonObject(c)).token]
    : new URLSearchParams(await c.req.text()).getAll('token');
  const [token] = given;
  if (given.length > 1) throw new Refusal('invalid', 'token: is given twice: ask about one at a time');
  if (typeof token === 'string' && token !== '') return token;
  throw new Refusal('invalid', 'token: is missing: send it as a form field, or as {"token": …} in JSON');
}
