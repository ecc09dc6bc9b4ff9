import type { IncomingMessage, ServerResponse } from 'node:http';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import type { Hono } from 'hono';
import { html } from 'hono/html';
import type { BrowserSession } from '../../identity/browser-sessions.ts';
import type { AuthorizationServer } from '../../oauth/authorization-server.ts';
import type { Interaction, InteractionResult } from '../../oauth/interactions.ts';
import { formTargets, isSensitive, requestWords, shownName } from './access-words.ts';
import { field, formField } from './forms.ts';
import { type Fragment, messagePage, page, pageHeaders } from './layout.ts';
import type { SignIn } from './sign-in.ts';
import type { PageContext, PageEnv, Visitors } from './visitors.ts';

/** A client that wants the person proven now gets a proof that is not older than the way back from the form. */
const JUST_NOW_MS = 30_000;

export type ConsentDeps = {
  visitors: Visitors;
  signIn: SignIn;
  /** Loaded with the first request that needs it. */
  server(): Promise<AuthorizationServer>;
};

/**
 * `/sign-in/{uid}` and `/consent/{uid}`: what a request for access waits for. Both belong to the browser that began it,
 * and the second to the person who did.
 */
export class Consent {
  readonly #deps: ConsentDeps;

  constructor(deps: ConsentDeps) {
    this.#deps = deps;
  }

  mount(app: Hono<PageEnv>): void {
    const { signIn } = this.#deps;
    for (const method of ['GET', 'POST'] as const)
      app.on(method, '/sign-in/:uid', (c) => this.#signIn(c, c.req.param('uid')));
    for (const method of ['GET', 'POST'] as const)
      app.on(method, '/consent/:uid', (c) => {
        const uid = c.req.param('uid');
        return signIn.signedIn(c, `/consent/${uid}`, (session) => this.#consent(c, uid, session));
      });
  }

  async #signIn(c: PageContext, uid: string): Promise<Response> {
    const asked = await this.#details(c, uid);
    if (asked?.prompt !== 'login') return c.html(overPage(), 404);
    const { session } = c.var;
    const fresh = session && (!asked.freshLogin || Date.now() - session.provenAt < JUST_NOW_MS);
    if (fresh && c.req.method === 'GET') return this.#finish(c, uid, { login: { email: session.email } });
    allowForms(c, asked);
    const purpose = html`to go on to <strong>${shownName(asked.client.name)}</strong>`;
    const here = `/sign-in/${uid}`;
    const view = { next: here, action: here, again: session, purpose };
    const { signIn } = this.#deps;
    return c.req.method === 'POST' ? signIn.accept(c, view) : signIn.show(c, view);
  }

  async #consent(c: PageContext, uid: string, session: BrowserSession): Promise<Response> {
    const asked = await this.#details(c, uid);
    if (asked?.prompt !== 'consent') return c.html(overPage(), 404);
    if (c.req.method === 'POST' && field(c, 'decision') === 'deny')
      return this.#finish(c, uid, { deny: true });
    const decide = (): Promise<Response> | Response => {
      if (c.req.method === 'POST' && field(c, 'decision') === 'allow')
        return this.#finish(c, uid, { consent: true });
      allowForms(c, asked);
      return c.html(consentPage(formField(this.#deps.visitors, c), asked, session));
    };
    if (!isSensitive(asked.access)) return decide();
    return this.#deps.signIn.freshlyProven(c, `/consent/${uid}`, decide);
  }

  async #details(c: PageContext, uid: string): Promise<Interaction | undefined> {
    const { incoming, outgoing } = bare(c);
    const { interactions } = await this.#deps.server();
    return interactions.details(incoming, outgoing, uid);
  }

  /** The answer is the authorization server's own; cookies of ours that changed go with it. */
  async #finish(c: PageContext, uid: string, result: InteractionResult): Promise<Response> {
    const { incoming, outgoing } = bare(c);
    const { interactions } = await this.#deps.server();
    for (const [name, value] of Object.entries(pageHeaders())) outgoing.setHeader(name, value);
    for (const cookie of c.res.headers.getSetCookie()) outgoing.appendHeader('set-cookie', cookie);
    if (await interactions.finish(incoming, outgoing, uid, result)) return RESPONSE_ALREADY_SENT;
    return c.html(overPage(), 404);
  }
}

function bare(c: PageContext): { incoming: IncomingMessage; outgoing: ServerResponse } {
  return c.env as { incoming: IncomingMessage; outgoing: ServerResponse };
}

/** The redirect back to the client answers a form of this page. */
function allowForms(c: PageContext, { client }: Interaction): void {
  const policy = pageHeaders(formTargets(client))['content-security-policy'];
  if (policy !== undefined) c.header('content-security-policy', policy);
}

function consentPage(
  hidden: Fragment,
  { uid, client, access }: Interaction,
  session: BrowserSession,
): Fragment {
  const name = shownName(client.name);
  return page(
    { title: `Allow ${name}?` },
    html`<section>
<h1>Allow <strong>${name}</strong>?</h1>
<p>It wants to act for you, <strong>${session.email}</strong>.</p>
${requestWords(client, access)}
<form method="post" action="/consent/${uid}">${hidden}
<div class="two"><button name="decision" value="allow">Allow</button>
<button class="second" name="decision" value="deny">Refuse</button></div>
</form>
</section>
<footer><p>You can take it back at any time on the page of <a href="/account">your account</a>. Not you?
<a href="/sign-out">Sign out</a>.</p></footer>`,
  );
}

function overPage(): Fragment {
  return messagePage(
    'This request is over',
    'It was decided, has expired, or was begun in another browser or by somebody else. Go back to the client and start again.',
  );
}
