import type { Hono } from 'hono';
import { html } from 'hono/html';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import type { Denials } from '../../audit/denials.ts';
import type { BrowserSession } from '../../identity/browser-sessions.ts';
import type { Passwords } from '../../identity/passwords.ts';
import type { SignInThrottle } from '../../limits/sign-in-throttle.ts';
import type { UserEntry } from '../../resources/spec.ts';
import { field, formField, ownPath } from './forms.ts';
import { type Fragment, page, problem } from './layout.ts';
import type { PageContext, PageEnv, Visitors } from './visitors.ts';

/** Where people go who were on their way nowhere. */
const HOME = '/account';
/** Where the provider for signing in is. */
export const BY_PROVIDER = '/sign-in/provider';
const WRONG = 'This e-mail address and password do not belong together.';

export type SignInDeps = {
  visitors: Visitors;
  passwords: Passwords;
  throttle: SignInThrottle;
  denials: Denials;
  /** Name of the provider where people may sign in instead; undefined: there is none. */
  provider: string | undefined;
};

export type SignInView = {
  /** Path of ours to go on to. */
  next: string;
  /** The person who has to prove themselves anew. */
  again?: BrowserSession | undefined;
  email?: string;
  problem?: string | undefined;
  /** What the person is about to do. */
  purpose?: Fragment | undefined;
  /** Where the form goes, if not to `/sign-in`. */
  action?: string;
};

type Answer = Response | Promise<Response>;

/** `/sign-in`, `/sign-out`, and the proof that other pages ask for. */
export class SignIn {
  readonly #deps: SignInDeps;

  constructor(deps: SignInDeps) {
    this.#deps = deps;
  }

  mount(app: Hono<PageEnv>): void {
    const { visitors } = this.#deps;
    app.get('/sign-in', (c) => {
      const next = ownPath(c.req.query('next'), HOME);
      const { session } = c.var;
      const again = c.req.query('again') === '1' ? session : undefined;
      if (session && (!again || visitors.isFresh(session))) return c.redirect(next, 303);
      return this.show(c, { next, again });
    });
    app.post('/sign-in', (c) => {
      const again = field(c, 'again') === '1' ? c.var.session : undefined;
      return this.accept(c, { next: ownPath(field(c, 'next'), HOME), again });
    });
    app.get('/sign-out', (c) => c.html(this.#signOutPage(c)));
    app.post('/sign-out', async (c) => {
      await visitors.signOut(c);
      return c.redirect('/sign-in', 303);
    });
  }

  /** The page that asks for a password. */
  show(c: PageContext, view: SignInView, status: ContentfulStatusCode = 200): Answer {
    return c.html(signInPage(formField(this.#deps.visitors, c), view, this.#deps.provider), status);
  }

  /** Does the work for whoever is signed in; anybody else signs in first and is then shown `next`. */
  signedIn(c: PageContext, next: string, work: (session: BrowserSession) => Answer): Answer {
    const { session } = c.var;
    if (session) return work(session);
    const ended = (c.req.header('cookie') ?? '').includes('castellan-session=');
    c.header('www-authenticate', 'Session realm="castellan"');
    return this.show(c, { next, problem: ended ? 'Your session has ended. Sign in again.' : undefined }, 401);
  }

  /** The same for a sensitive act, which asks for a proof of the person from the last five minutes. */
  freshlyProven(c: PageContext, next: string, work: (session: BrowserSession) => Answer): Answer {
    return this.signedIn(c, next, (session) =>
      this.#deps.visitors.isFresh(session)
        ? work(session)
        : c.redirect(`/sign-in?again=1&next=${encodeURIComponent(next)}`, 303),
    );
  }

  /** Tries a password; the sentence says why it was refused, and how long to wait if that is why. */
  async prove(
    c: PageContext,
    email: string,
    password: string,
  ): Promise<{ user: UserEntry } | { refused: string; waitSeconds?: number }> {
    const { visitors, passwords, throttle, denials } = this.#deps;
    const address = visitors.address(c);
    const network = visitors.network(c);
    const attempt = { network, account: email.slice(0, 254), browser: visitors.familiar(c, email) };
    const wait = throttle.take(attempt);
    const failed = { event: 'auth.failed', actor: { kind: 'stranger' }, address } as const;
    if (wait !== undefined) {
      denials.note({ ...failed, reason: 'too many passwords' });
      const waitSeconds = Math.ceil(wait / 1_000);
      return { refused: `Too many wrong passwords. Wait ${spoken(waitSeconds)} and try again.`, waitSeconds };
    }
    const user = await passwords.verify(email, password);
    if (!user) {
      denials.note({ ...failed, reason: 'wrong password' });
      return { refused: WRONG };
    }
    throttle.right(attempt);
    return { user };
  }

  /** Takes the form of the page: signs in and goes on to `next`, or shows the page again. */
  async accept(c: PageContext, view: SignInView): Promise<Response> {
    const { visitors } = this.#deps;
    const email = field(c, 'email').trim().toLowerCase();
    const proof = await this.prove(c, email, field(c, 'password'));
    if ('refused' in proof) {
      if (proof.waitSeconds !== undefined) c.header('retry-after', String(proof.waitSeconds));
      const status = proof.waitSeconds === undefined ? 401 : 429;
      return this.show(c, { ...view, email, problem: proof.refused }, status);
    }
    await visitors.signIn(c, proof.user, 'password');
    return c.redirect(view.next, 303);
  }

  #signOutPage(c: PageContext): Fragment {
    const { session } = c.var;
    if (!session) {
      return page(
        { title: 'Signed out' },
        html`<section><h1>You are signed out</h1><a class="button" href="/sign-in">Sign in</a></section>`,
      );
    }
    return page(
      { title: 'Sign out' },
      html`<section>
<h1>Sign out?</h1>
<p>You are signed in as <strong>${session.email}</strong>. Agents and clients keep the access that you gave them.</p>
<form method="post" action="/sign-out">${formField(this.#deps.visitors, c)}
<div class="two"><button>Sign out</button><a class="button second" href="/account">Stay</a></div>
</form>
</section>`,
    );
  }
}

function signInPage(hidden: Fragment, view: SignInView, provider: string | undefined): Fragment {
  const { next, again, email = again?.email ?? '', purpose } = view;
  const title = again ? 'Confirm that it is you' : 'Sign in';
  const described = view.problem === undefined ? '' : html` aria-describedby="problem" aria-invalid="true"`;
  const focus = html` autofocus`;
  return page(
    { title },
    html`<section>
<h1>${title}</h1>
${purpose ? html`<p>${purpose}</p>` : ''}
${again ? html`<p class="soft">What you are about to do asks for your password again.</p>` : ''}
${problem(view.problem)}
<form method="post" action="${view.action ?? '/sign-in'}">${hidden}
<input type="hidden" name="next" value="${next}">
${again ? html`<input type="hidden" name="again" value="1">` : ''}
<label for="email">E-mail address</label>
<input id="email" name="email" type="text" inputmode="email" autocomplete="username" autocapitalize="none"
 spellcheck="false" maxlength="254" required value="${email}"${again ? html` readonly` : ''}${email ? '' : focus}${described}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" maxlength="256"
 required${email ? focus : ''}${described}>
<button>${again ? 'Confirm' : 'Sign in'}</button>
</form>
${provider ? providerLink(provider, next, again !== undefined) : ''}
</section>
<footer><p>No password, or forgotten? An administrator makes you a link that sets a new one:
<code>castellan rotate user EMAIL</code></p></footer>`,
  );
}

function providerLink(name: string, next: string, again: boolean): Fragment {
  const to = `${BY_PROVIDER}?next=${encodeURIComponent(next)}${again ? '&again=1' : ''}`;
  return html`<p class="or">or</p><a class="button second" href="${to}">Go on with ${name}</a>`;
}

function spoken(seconds: number): string {
  const minutes = Math.ceil(seconds / 60);
  return seconds < 90 ? `${seconds} seconds` : `${minutes} minutes`;
}
