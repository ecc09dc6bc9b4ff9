import type { Hono } from 'hono';
import { html } from 'hono/html';
import { Refusal } from '../../base/errors.ts';
import type { BrowserSession, BrowserSessions } from '../../identity/browser-sessions.ts';
import type { Passwords } from '../../identity/passwords.ts';
import type { GrantRecord, Grants } from '../../oauth/grants.ts';
import { shownName } from './access-words.ts';
import { field, formField } from './forms.ts';
import { type Fragment, page, problem } from './layout.ts';
import type { SignIn } from './sign-in.ts';
import type { PageContext, PageEnv, Visitors } from './visitors.ts';

const HERE = '/account';
/** Clients on the page at once; the command line lists all. */
const MAX_SHOWN = 200;
const DONE: Readonly<Record<string, string>> = {
  password: 'Your password is set. Every other session of yours has ended.',
  session: 'The session has ended.',
  grant: 'The client has no access any more.',
};

export type AccountDeps = {
  passwords: Passwords;
  sessions: BrowserSessions;
  visitors: Visitors;
  signIn: SignIn;
  grants: Grants;
};

/** `/account`: what somebody has here, and what they can take back. */
export class Account {
  readonly #deps: AccountDeps;

  constructor(deps: AccountDeps) {
    this.#deps = deps;
  }

  mount(app: Hono<PageEnv>): void {
    const { signIn, sessions, grants } = this.#deps;
    app.get(HERE, (c) => signIn.signedIn(c, HERE, (session) => this.#show(c, session)));
    app.post(`${HERE}/password`, (c) =>
      signIn.signedIn(c, HERE, (session) => this.#changePassword(c, session)),
    );
    app.post(`${HERE}/sessions/:id/end`, (c) =>
      signIn.signedIn(c, HERE, async ({ user }) => {
        await sessions.end(user, c.req.param('id'));
        return c.redirect(`${HERE}?done=session`, 303);
      }),
    );
    app.post(`${HERE}/clients/:id/withdraw`, (c) =>
      signIn.signedIn(c, HERE, async ({ email }) => {
        const id = c.req.param('id');
        if ((await grants.find(id))?.user === email) await grants.withdraw(id);
        return c.redirect(`${HERE}?done=grant`, 303);
      }),
    );
  }

  async #changePassword(c: PageContext, session: BrowserSession): Promise<Response> {
    const { passwords, signIn, visitors } = this.#deps;
    const password = field(c, 'password');
    if (password !== field(c, 'repeated'))
      return this.#show(c, session, 'The two new passwords differ: write the same one twice.');
    const proof = await signIn.prove(c, session.email, field(c, 'current'));
    if ('refused' in proof) {
      if (proof.waitSeconds === undefined)
        return this.#show(c, session, 'The password that you have now is another one.');
      c.header('retry-after', String(proof.waitSeconds));
      return this.#show(c, session, proof.refused, 429);
    }
    try {
      await passwords.change(session.user, password, session.id);
    } catch (error) {
      if (!(error instanceof Refusal) || error.kind !== 'invalid') throw error;
      return this.#show(c, session, `${error.message}.`);
    }
    await visitors.signIn(c, session.user, 'password');
    return c.redirect(`${HERE}?done=password`, 303);
  }

  async #show(
    c: PageContext,
    session: BrowserSession,
    wrong?: string,
    status: 400 | 429 = 400,
  ): Promise<Response> {
    const { passwords, sessions, grants, visitors } = this.#deps;
    const hidden = formField(visitors, c);
    const done = DONE[c.req.query('done') ?? ''];
    const body = html`<section>
<h1>Your account</h1>
${done ? html`<p class="note good" role="status">${done}</p>` : ''}
<dl><dt>Signed in as</dt><dd><strong>${session.email}</strong></dd>
<dt>Groups</dt><dd>${session.user.groups.length > 0 ? session.user.groups.join(', ') : 'none'}</dd></dl>
</section>
${clientsSection(await grants.list(session.user.uid), hidden)}
${sessionsSection(await sessions.list(session.user), session, hidden)}
${(await passwords.isSet(session.user)) ? passwordSection(session, hidden, wrong) : noPasswordSection()}`;
    const nav = html`<nav><form class="inline" method="post" action="/sign-out">${hidden}<button class="link">Sign
 out</button></form></nav>`;
    return c.html(page({ title: 'Your account', wide: true, nav }, body), wrong === undefined ? 200 : status);
  }
}

function sessionsSection(all: readonly BrowserSession[], own: BrowserSession, hidden: Fragment): Fragment {
  const row = (one: BrowserSession) => html`<li><div>
<strong>${browserName(one.agent)}</strong> ${one.id === own.id ? html`<span class="badge">this browser</span>` : ''}
<p class="hint">${one.address} · signed in ${time(one.createdAt)} · last used ${time(one.seenAt)}</p></div>
${
  one.id === own.id
    ? ''
    : html`<form class="inline" method="post" action="/account/sessions/${one.id}/end">${hidden}<button class="small"
 aria-label="End the session of ${browserName(one.agent)}, ${one.address}">End</button></form>`
}</li>`;
  return html`<section>
<h2>Where you are signed in</h2>
<ul class="rows">${all.map(row)}</ul>
</section>`;
}

function clientsSection(grants: readonly GrantRecord[], hidden: Fragment): Fragment {
  const row = (grant: GrantRecord) => {
    const name = shownName(grant.clientName);
    const to = grant.project ?? (grant.projectUid === undefined ? 'everything' : 'a project that is gone');
    return html`<li><div>
<strong>${name}</strong> · ${to}
<p class="hint"><code>${grant.scopes.join(' ')}</code> · ${grant.clientId.slice(0, 200)}</p>
<p class="hint">allowed ${time(grant.createdAt)} · last used ${grant.lastUsedAt === null ? 'never' : time(grant.lastUsedAt)}</p></div>
<form class="inline" method="post" action="/account/clients/${grant.id}/withdraw">${hidden}<button class="small"
 aria-label="Take back the access of ${name} to ${to}">Take back</button></form></li>`;
  };
  return html`<section>
<h2>Clients that may act for you</h2>
${
  grants.length === 0
    ? html`<p class="soft">None. A client asks you when it wants access.</p>`
    : html`<ul class="rows">${grants.slice(0, MAX_SHOWN).map(row)}</ul>`
}
${grants.length > MAX_SHOWN ? html`<p class="hint">The newest ${MAX_SHOWN} of ${grants.length}.</p>` : ''}
</section>`;
}

function passwordSection(session: BrowserSession, hidden: Fragment, wrong: string | undefined): Fragment {
  const described = wrong === undefined ? '' : html` aria-describedby="problem"`;
  return html`<section>
<h2>Change your password</h2>
${problem(wrong)}
<form method="post" action="/account/password">${hidden}
<input type="text" name="email" autocomplete="username" value="${session.email}" hidden>
<label for="current">The password that you have now</label>
<input id="current" name="current" type="password" autocomplete="current-password" maxlength="256" required${described}>
<label for="password">New password</label>
<input id="password" name="password" type="password" autocomplete="new-password" minlength="12" maxlength="256" required
 aria-describedby="rules">
<p class="hint" id="rules">At least 12 characters. It ends every other session of yours.</p>
<label for="repeated">The new one again</label>
<input id="repeated" name="repeated" type="password" autocomplete="new-password" maxlength="256" required>
<button>Change password</button>
</form>
</section>`;
}

function noPasswordSection(): Fragment {
  return html`<section>
<h2>Password</h2>
<p>You have none here. An administrator makes you a link that sets one: <code>castellan rotate user EMAIL</code></p>
</section>`;
}

const BROWSERS: readonly (readonly [RegExp, string])[] = [
  [/\bEdgA?\//, 'Edge'],
  [/\bOPR\//, 'Opera'],
  [/\bFirefox\//, 'Firefox'],
  [/\bChrome\/|HeadlessChrome\//, 'Chrome'],
  [/\bSafari\//, 'Safari'],
];
const SYSTEMS: readonly (readonly [RegExp, string])[] = [
  [/\biPhone|\biPad/, 'iOS'],
  [/\bAndroid\b/, 'Android'],
  [/\bMac OS X\b/, 'macOS'],
  [/\bWindows\b/, 'Windows'],
  [/\bLinux\b/, 'Linux'],
];

/** What a person calls it, as far as the browser tells the truth. */
function browserName(agent: string): string {
  const browser = BROWSERS.find(([pattern]) => pattern.test(agent))?.[1];
  const system = SYSTEMS.find(([pattern]) => pattern.test(agent))?.[1];
  if (!browser) return 'Another program';
  return system ? `${browser} on ${system}` : browser;
}

function time(at: number): Fragment {
  const iso = new Date(at).toISOString();
  return html`<time datetime="${iso}">${iso.slice(0, 16).replace('T', ' ')} UTC</time>`;
}
