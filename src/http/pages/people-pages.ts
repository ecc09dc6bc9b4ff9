import { Hono } from 'hono';
import type { Approvals } from '../../approvals/approvals.ts';
import type { Audit } from '../../audit/audit.ts';
import type { Denials } from '../../audit/denials.ts';
import { messageOf, Refusal } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import type { BrowserSessions } from '../../identity/browser-sessions.ts';
import { ExternalPeople } from '../../identity/external-people.ts';
import type { ExternalProvider, ExternalProviderSettings } from '../../identity/external-provider.ts';
import type { Passwords } from '../../identity/passwords.ts';
import { SignInThrottle } from '../../limits/sign-in-throttle.ts';
import type { OAuth } from '../../oauth/oauth.ts';
import type { Resources } from '../../resources/registry.ts';
import type { Store } from '../../store/database.ts';
import type { VendorLogins } from '../../vendors/logins.ts';
import type { RequestAddresses } from '../request-addresses.ts';
import { Account } from './account.ts';
import { ApprovalPage } from './approval.ts';
import { BrowserCookies } from './browser-cookies.ts';
import { Consent } from './consent.ts';
import { Device } from './device.ts';
import { ownForms } from './forms.ts';
import { mountInvite } from './invite.ts';
import { messagePage, pageHeaders } from './layout.ts';
import { mountProviderSignIn } from './provider-sign-in.ts';
import { pastePage, ServerSignIn } from './server-sign-in.ts';
import { SignIn } from './sign-in.ts';
import { type PageEnv, Visitors } from './visitors.ts';

export type PeoplePagesDeps = {
  approvals: Approvals;
  passwords: Passwords;
  sessions: BrowserSessions;
  addresses: RequestAddresses;
  audit: Audit;
  denials: Denials;
  logger: Logger;
  publicUrl: string | undefined;
  oauth: Pick<OAuth, 'server' | 'grants' | 'issuers'>;
  logins: VendorLogins;
  authorizer: Authorizer;
  store: Store;
  resources: Resources;
  /** Where people may sign in instead. */
  provider: ExternalProviderSettings | undefined;
  /** False where passwords would cross a network in the clear. */
  open: boolean;
};

/** The pages of people. Host and Origin are the router's. */
export function createPeoplePages(deps: PeoplePagesDeps): Hono<PageEnv> {
  const { passwords, sessions, addresses, audit, denials, logger } = deps;
  const cookies = new BrowserCookies(deps.publicUrl);
  const visitors = new Visitors({ sessions, cookies, addresses });
  const app = new Hono<PageEnv>();
  const headers = Object.entries(pageHeaders());
  app.use(async (c, next) => {
    for (const [name, value] of headers) c.header(name, value);
    await next();
  });
  if (!deps.open) {
    // Nobody is signed in here, and what came back is pasted.
    app.get('/oauth/callback/:server', (c) => c.html(pastePage()));
    app.use((c) => Promise.resolve(c.html(closedPage(), 403)));
  }
  app.use(visitors.known(), ownForms(visitors));
  app.use((c, next) => {
    const { session } = c.var;
    const actor = session
      ? ({ kind: 'user', user: session.email } as const)
      : ({ kind: 'stranger' } as const);
    return audit.acting({ actor, address: visitors.address(c) }, next);
  });
  const throttle = new SignInThrottle(() => performance.now());
  const signIn = new SignIn({ visitors, passwords, throttle, denials, provider: deps.provider?.name });
  signIn.mount(app);
  if (deps.provider) {
    const { publicUrl, store, resources, provider: settings } = deps;
    const people = new ExternalPeople({ store, resources, audit, groups: settings.groups });
    let loaded: Promise<ExternalProvider> | undefined;
    const provider = () => {
      loaded ??= import('../../identity/external-provider.ts').then(
        ({ ExternalProvider }) => new ExternalProvider(settings, store.keys.sealer),
      );
      return loaded;
    };
    const shared = { visitors, cookies, throttle, denials, publicUrl, logger };
    mountProviderSignIn(app, { provider, people, ...shared });
  }
  mountInvite(app, { passwords, visitors });
  const { oauth } = deps;
  const server = () => oauth.server();
  new Consent({ visitors, signIn, server }).mount(app);
  new Device({ visitors, signIn, server }).mount(app);
  new Account({ passwords, sessions, visitors, signIn, grants: oauth.grants }).mount(app);
  new ApprovalPage({ approvals: deps.approvals, visitors, signIn }).mount(app);
  const { logins, resources, authorizer } = deps;
  new ServerSignIn({ visitors, signIn, logins, resources, authorizer, issuers: oauth.issuers }).mount(app);
  app.all('*', (c) =>
    c.html(messagePage('There is no such page', 'The address has a typo, or is too old.'), 404),
  );
  app.onError((error, c) => {
    if (error instanceof Refusal && error.kind === 'unavailable') {
      c.header('retry-after', '2');
      return c.html(messagePage('Not now', `This did not work: ${error.message}.`), 503);
    }
    logger.error({ error: messageOf(error), path: c.req.path.split('/')[1] }, 'a page failed unexpectedly');
    return c.html(messagePage('That went wrong', 'The log of the server says why.'), 500);
  });
  return app;
}

function closedPage() {
  return messagePage(
    'Nobody signs in here',
    'This server is reached without encryption, so a password could be read on its way. Give it an https address with --public-url.',
  );
}
