import type { Hono } from 'hono';
import { html } from 'hono/html';
import { Refusal } from '../../base/errors.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import type { BrowserSession } from '../../identity/browser-sessions.ts';
import { personAtBrowser } from '../../identity/person.ts';
import type { Issuers } from '../../oauth/issuers.ts';
import type { Resources } from '../../resources/registry.ts';
import type { ServerEntry } from '../../resources/spec.ts';
import type { CredentialTarget } from '../../vendors/credentials.ts';
import type { VendorLogins } from '../../vendors/logins.ts';
import { maySignIn } from '../../vendors/own-sign-in.ts';
import { userMark } from '../../vendors/sign-in-path.ts';
import { credentialTarget } from '../../vendors/targets.ts';
import { formField } from './forms.ts';
import { type Fragment, messagePage, page, problem } from './layout.ts';
import type { SignIn } from './sign-in.ts';
import type { PageContext, PageEnv, Visitors } from './visitors.ts';

type Deps = {
  visitors: Visitors;
  signIn: SignIn;
  logins: Pick<VendorLogins, 'begin' | 'comeBack'>;
  resources: Pick<Resources, 'snapshot'>;
  authorizer: Pick<Authorizer, 'toolRights'>;
  issuers: Pick<Issuers, 'of'>;
};

/**
 * `/connect/{server}`: where a user signs in for themselves at a server whose users each do, and
 * `/oauth/callback/{server}`, where their browser comes back to. Only the browser session that began finishes it; any
 * other is told that nothing happened, as is one that came back for the command line.
 */
export class ServerSignIn {
  readonly #deps: Deps;

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  mount(app: Hono<PageEnv>): void {
    const { signIn } = this.#deps;
    const here = (c: PageContext) => {
      const mark = c.req.query('for');
      const path = `/connect/${encodeURIComponent(nameIn(c))}`;
      return mark === undefined ? path : `${path}?for=${encodeURIComponent(mark)}`;
    };
    app.get('/connect/:server', (c) => signIn.signedIn(c, here(c), (session) => this.#show(c, session)));
    app.post('/connect/:server', (c) => signIn.signedIn(c, here(c), (session) => this.#begin(c, session)));
    app.get('/oauth/callback/:server', (c) => this.#comeBack(c));
  }

  #show(c: PageContext, session: BrowserSession, wrong?: string): Response | Promise<Response> {
    const target = this.#targetOf(c, session);
    if (!('uid' in target)) return c.html(target, 403);
    const path = `/connect/${encodeURIComponent(target.name)}`;
    return c.html(connectPage(target.name, session.email, path, formField(this.#deps.visitors, c), wrong));
  }

  async #begin(c: PageContext, session: BrowserSession): Promise<Response> {
    const target = this.#targetOf(c, session);
    if (!('uid' in target)) return c.html(target, 403);
    const origin = this.#deps.issuers.of(c.req.header('host')) ?? '';
    const redirectUri = `${origin}/oauth/callback/${encodeURIComponent(target.name)}`;
    try {
      const way = { flow: 'page', browser: session.id, redirectUri } as const;
      const { url } = await this.#deps.logins.begin(target, way);
      return await c.html(leavePage(target.name, new URL(url)));
    } catch (error) {
      if (!(error instanceof Refusal) || error.kind === 'unavailable') throw error;
      return this.#show(c, session, `${error.message}.`);
    }
  }

  async #comeBack(c: PageContext): Promise<Response> {
    const { session } = c.var;
    const target = session && this.#targetOf(c, session);
    if (!session || !target || !('uid' in target)) return c.html(pastePage());
    try {
      await this.#deps.logins.comeBack(target, this.#addressOf(c), session.id);
    } catch (error) {
      if (!(error instanceof Refusal) || error.kind === 'unavailable') throw error;
      return error.kind === 'invalid' ? c.html(pastePage()) : c.html(failedPage(target, error.message), 409);
    }
    return c.html(
      messagePage(
        'You are signed in',
        html`Calls of your agents at <strong>${target.name}</strong> are yours from now on: go back and try again.`,
        'This page can be closed.',
      ),
    );
  }

  /** As the vendor was told it, whatever a proxy made of it. */
  #addressOf(c: PageContext): string {
    const { pathname, search } = new URL(c.req.url);
    return `${this.#deps.issuers.of(c.req.header('host')) ?? ''}${pathname}${search}`;
  }

  #targetOf(c: PageContext, session: BrowserSession): CredentialTarget | Fragment {
    const { resources, authorizer } = this.#deps;
    const name = nameIn(c);
    const entry: ServerEntry | undefined = resources.snapshot().servers.get(name);
    const snapshot = () => resources.snapshot();
    if (!entry || !maySignIn({ authorizer, snapshot }, personAtBrowser(session), entry))
      return messagePage(
        'Nothing to sign in for',
        'There is no such server, its users share one sign-in, or you may not use it.',
      );
    const mark = c.req.query('for');
    if (mark !== undefined && mark !== userMark(name, session.email))
      return messagePage(
        'This link is somebody else’s',
        html`It belongs to another user than <strong>${session.email}</strong>. Nothing was begun: whoever sent it to you wants
you to sign in for them.`,
      );
    const target = credentialTarget(entry, session.email);
    return target.ok ? target.value : messagePage('Nothing to sign in for', `${target.error}.`);
  }
}

/** Where a browser comes back to whose sign-in was begun elsewhere. */
export function pastePage(): Fragment {
  return messagePage(
    'Back from signing in',
    'Copy the whole address of this page, and paste it where castellan mcp login waits for it.',
    'It works once, and only for the sign-in that it answers. If you began on a page of this server, it was in another browser or as another user, or it was too long ago: nothing has happened, begin again there.',
  );
}

function failedPage({ name }: CredentialTarget, message: string): Fragment {
  return messagePage(
    'You are not signed in',
    `${message}.`,
    html`<a class="button" href="/connect/${encodeURIComponent(name)}">Begin again</a>`,
  );
}

function connectPage(
  name: string,
  email: string,
  path: string,
  hidden: Fragment,
  wrong: string | undefined,
): Fragment {
  return page(
    { title: `Sign in for ${name}` },
    html`<section>
<h1>Sign in for <strong>${name}</strong></h1>
${problem(wrong)}
<p>Each user of this server has an account of their own there. Sign in, and what your agents call there is called as you,
<strong>${email}</strong>.</p>
<p class="hint">Go on only if you, or an agent of yours, asked for this.</p>
<form method="post" action="${path}">${hidden}<button>Sign in</button></form>
</section>`,
  );
}

function leavePage(name: string, url: URL): Fragment {
  return page(
    { title: `Sign in for ${name}` },
    html`<section>
<h1>On to ${url.host}</h1>
<p>There you sign in for <strong>${name}</strong> and agree, and come back here.</p>
<a class="button" href="${url.href}" rel="noreferrer">Go on</a>
</section>`,
  );
}

const nameIn = (c: PageContext) => c.req.param('server') ?? '';
