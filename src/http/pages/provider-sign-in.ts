import type { Hono } from 'hono';
import { deleteCookie, getCookie, setCookie } from 'hono/cookie';
import type { Denials } from '../../audit/denials.ts';
import { Refusal } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { ExternalPeople, StrangerReason } from '../../identity/external-people.ts';
import type { ExternalProvider } from '../../identity/external-provider.ts';
import type { SignInThrottle } from '../../limits/sign-in-throttle.ts';
import type { BrowserCookies } from './browser-cookies.ts';
import { ownPath } from './forms.ts';
import { type Fragment, messagePage } from './layout.ts';
import { BY_PROVIDER } from './sign-in.ts';
import type { PageContext, PageEnv, Visitors } from './visitors.ts';

const BACK = `${BY_PROVIDER}/back`;

const REASONS: Readonly<Record<StrangerReason, string>> = {
  'no email': 'It names no e-mail address of yours that it has verified.',
  unknown: 'You are no user here. An administrator can make you one.',
  taken: 'Your e-mail address here belongs to another account there. Ask an administrator.',
  disabled: 'Your user here is disabled. Ask an administrator.',
};

export type ProviderSignInDeps = {
  /** Loaded with the first sign-in. */
  provider(): Promise<ExternalProvider>;
  people: ExternalPeople;
  visitors: Visitors;
  cookies: BrowserCookies;
  throttle: SignInThrottle;
  denials: Denials;
  publicUrl: string | undefined;
  logger: Logger;
};

/** `/sign-in/provider` leads to the provider, `/sign-in/provider/back` is where it sends people back to. */
export function mountProviderSignIn(app: Hono<PageEnv>, deps: ProviderSignInDeps): void {
  const { cookies, publicUrl } = deps;
  const back = (c: PageContext) => `${publicUrl ?? new URL(c.req.url).origin}${BACK}`;
  app.get(BY_PROVIDER, async (c) => {
    const next = ownPath(c.req.query('next'), '/account');
    const provider = await deps.provider();
    const { url, pending } = await provider.begin(back(c), next, c.req.query('again') === '1');
    setCookie(c, cookies.provider, pending, cookies.options('provider'));
    return c.redirect(url.href, 303);
  });
  app.get(BACK, async (c) => {
    const pending = getCookie(c, cookies.provider) ?? '';
    deleteCookie(c, cookies.provider, cookies.options('provider'));
    const network = deps.visitors.network(c);
    const attempt = { network, account: `${BY_PROVIDER} ${network}`, browser: undefined };
    if (deps.throttle.take(attempt) !== undefined)
      return c.html(refusedPage('Too many tries. Wait a minute.'), 429);
    try {
      const provider = await deps.provider();
      const proof = await provider.finish(back(c), new URL(c.req.url).searchParams, pending);
      if (!(await deps.people.consume(proof.state)))
        throw new Refusal('unauthenticated', 'this sign-in was used before: start again');
      const found = await deps.people.resolve(proof.claims);
      if (!found.ok) return refuse(deps, c, REASONS[found.error], found.error);
      deps.throttle.right(attempt);
      await deps.visitors.signIn(c, found.value, 'sso', proof.provenAt);
      return c.redirect(proof.next, 303);
    } catch (error) {
      if (!(error instanceof Refusal) || error.kind !== 'unauthenticated') throw error;
      return refuse(
        deps,
        c,
        'Start again, in the browser in which you began.',
        error.detail ?? error.message,
      );
    }
  });
}

function refuse(
  deps: ProviderSignInDeps,
  c: PageContext,
  sentence: string,
  reason: string,
): Response | Promise<Response> {
  const address = deps.visitors.address(c);
  deps.denials.note({
    event: 'auth.failed',
    actor: { kind: 'stranger' },
    address,
    reason: 'sign-in by the provider',
  });
  deps.logger.info({ reason, address }, 'a sign-in by the provider was refused');
  return c.html(refusedPage(sentence), 403);
}

function refusedPage(sentence: string): Fragment {
  return messagePage('You are not signed in', sentence);
}
