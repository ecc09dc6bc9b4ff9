import { Refusal } from '../../base/errors.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import type { Resources } from '../../resources/registry.ts';
import type { ServerEntry } from '../../resources/spec.ts';
import type { CredentialTarget } from '../../vendors/credentials.ts';
import type { VendorLogins } from '../../vendors/logins.ts';
import { maySignIn } from '../../vendors/own-sign-in.ts';
import { credentialTarget } from '../../vendors/targets.ts';
import { type ApiContext, jsonObject } from './responses.ts';
import { notThere, type Route } from './route.ts';

type Deps = { resources: Resources; authorizer: Authorizer; logins: VendorLogins };

/** Signing in for servers whose `auth` is `oauth`. */
export function loginRoutes({ resources, authorizer, logins }: Deps): Route[] {
  const need = {
    ask: (c: ApiContext) => {
      const name = c.req.param('name') ?? '';
      return { role: 'edit', resource: 'servers', name: serverAt(resources, name)?.name ?? name } as const;
    },
    or: (c: ApiContext) => {
      const entry = serverAt(resources, c.req.param('name') ?? '');
      const snapshot = () => resources.snapshot();
      return entry !== undefined && maySignIn({ authorizer, snapshot }, c.get('caller'), entry);
    },
  };
  const target = (c: ApiContext) => {
    const { owner, actor } = c.get('caller');
    const found = targetOf(resources, c.req.param('name') ?? '', owner);
    if (found.auth.perUser && actor !== undefined)
      throw new Refusal('forbidden', 'nobody signs in as somebody else: leave out --as');
    return found;
  };
  return [
    {
      method: 'POST',
      path: '/servers/:name/login',
      need,
      doc: { summary: 'Begin to sign in for a server', body: 'LoginWish', answer: 'LoginStep' },
      handle: async (c) => {
        const { flow, redirectUri } = await onlyKeys(c, ['flow', 'redirectUri']);
        return c.json(await logins.begin(target(c), wishOf(flow, redirectUri)));
      },
    },
    {
      method: 'GET',
      path: '/servers/:name/login',
      need,
      doc: { summary: 'Show the sign-in for a server that is under way', answer: 'LoginStep' },
      handle: async (c) => {
        const step = await logins.pending(target(c));
        if (step) return c.json(step);
        throw new Refusal('not_found', `no sign-in of ${target(c).name} is under way`);
      },
    },
    {
      method: 'POST',
      path: '/servers/:name/login/complete',
      need,
      doc: {
        summary: 'Go on with the sign-in for a server that is under way',
        body: 'LoginAnswer',
        answer: 'LoginProgress',
      },
      handle: async (c) => {
        const { url, id } = await onlyKeys(c, ['url', 'id']);
        if (url !== undefined && typeof url !== 'string') throw new Refusal('invalid', 'url: must be text');
        if (id !== undefined && typeof id !== 'string') throw new Refusal('invalid', 'id: must be text');
        return c.json(await logins.goOn(target(c), url, id));
      },
    },
    {
      method: 'DELETE',
      path: '/servers/:name/login',
      need,
      doc: { summary: 'Forget what somebody signed in for a server with', answer: 'LoginEnded' },
      handle: async (c) => c.json(await logins.end(target(c))),
    },
  ];
}

function wishOf(flow: unknown, redirectUri: unknown): Parameters<VendorLogins['begin']>[1] {
  if (flow === 'browser') {
    if (typeof redirectUri === 'string') return { flow, redirectUri };
    throw new Refusal('invalid', 'redirectUri: is missing: flow browser needs the address that waits for it');
  }
  if (redirectUri !== undefined)
    throw new Refusal('invalid', 'redirectUri: counts with flow browser alone: leave it out');
  if (flow === undefined || flow === 'device' || flow === 'paste') return flow;
  throw new Refusal('invalid', 'flow: must be device, paste or browser, or be left out');
}

function serverAt(resources: Resources, nameOrUid: string): ServerEntry | undefined {
  const { servers } = resources.snapshot();
  return servers.get(nameOrUid) ?? [...servers.values()].find(({ uid }) => uid !== '' && uid === nameOrUid);
}

/** @throws Refusal when the server takes no tokens of an authorization server */
function targetOf(resources: Resources, nameOrUid: string, user: string): CredentialTarget {
  const entry = serverAt(resources, nameOrUid);
  if (!entry) throw notThere({ resource: 'servers', name: nameOrUid });
  const target = credentialTarget(entry, user);
  if (!target.ok) throw new Refusal('conflict', target.error);
  return target.value;
}

async function onlyKeys(c: ApiContext, known: readonly string[]): Promise<Record<string, unknown>> {
  const body = await jsonObject(c);
  const unknown = Object.keys(body).find((key) => !known.includes(key));
  if (unknown === undefined) return body;
  throw new Refusal('invalid', `the body has an unknown key: use ${known.join(', ')}`);
}
