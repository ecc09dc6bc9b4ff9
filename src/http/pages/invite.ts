import type { Hono } from 'hono';
import { html } from 'hono/html';
import { Refusal } from '../../base/errors.ts';
import type { Passwords } from '../../identity/passwords.ts';
import { field, formField } from './forms.ts';
import { type Fragment, messagePage, page, problem } from './layout.ts';
import type { PageContext, PageEnv, Visitors } from './visitors.ts';

const DIFFERENT = 'The two passwords differ: write the same one twice.';

/** `/invite/{code}`: the page behind a one-time link. Only the form uses the link up, never the look at the page. */
export function mountInvite(
  app: Hono<PageEnv>,
  { passwords, visitors }: { passwords: Passwords; visitors: Visitors },
): void {
  const show = (c: PageContext, code: string, email: string, wrong?: string) =>
    c.html(invitePage(formField(visitors, c), code, email, wrong), wrong === undefined ? 200 : 400);

  app.get('/invite/:code', async (c) => {
    const code = c.req.param('code');
    const user = await passwords.linkedUser(code);
    return user ? show(c, code, user.name) : c.html(usedPage(), 404);
  });
  app.post('/invite/:code', async (c) => {
    const code = c.req.param('code');
    const known = await passwords.linkedUser(code);
    if (!known) return c.html(usedPage(), 404);
    const password = field(c, 'password');
    if (password !== field(c, 'repeated')) return show(c, code, known.name, DIFFERENT);
    try {
      const user = await passwords.redeem(code, password);
      if (!user) return c.html(usedPage(), 404);
      await visitors.signIn(c, user, 'link');
    } catch (error) {
      if (error instanceof Refusal && error.kind === 'invalid')
        return show(c, code, known.name, `${error.message}.`);
      throw error;
    }
    return c.redirect('/account?done=password', 303);
  });
}

function invitePage(hidden: Fragment, code: string, email: string, wrong: string | undefined): Fragment {
  const described = wrong === undefined ? 'rules' : 'problem rules';
  return page(
    { title: 'Set your password' },
    html`<section>
<h1>Set your password</h1>
<p>With it you sign in here, decide which clients may act for you, and see what they were given.</p>
${problem(wrong)}
<form method="post" action="/invite/${code}">${hidden}
<label for="email">E-mail address</label>
<input id="email" name="email" type="text" autocomplete="username" readonly value="${email}">
<label for="password">New password</label>
<input id="password" name="password" type="password" autocomplete="new-password" minlength="12" maxlength="256"
 required autofocus aria-describedby="${described}">
<p class="hint" id="rules">At least 12 characters. Four words that do not belong together are good.</p>
<label for="repeated">The same again</label>
<input id="repeated" name="repeated" type="password" autocomplete="new-password" maxlength="256" required>
<button>Set password</button>
</form>
</section>`,
  );
}

function usedPage(): Fragment {
  return messagePage(
    'This link does not work any more',
    'It was used, has expired, or another one took its place.',
    html`An administrator makes a new one: <code>castellan rotate user EMAIL</code>`,
    html`<a class="button second" href="/sign-in">Sign in</a>`,
  );
}
