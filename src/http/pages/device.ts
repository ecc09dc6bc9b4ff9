import type { Hono } from 'hono';
import { html } from 'hono/html';
import type { BrowserSession } from '../../identity/browser-sessions.ts';
import type { AuthorizationServer } from '../../oauth/authorization-server.ts';
import type { DeviceRefusal, DeviceRequest } from '../../oauth/devices.ts';
import { isSensitive, requestWords, shownName } from './access-words.ts';
import { field, formField } from './forms.ts';
import { type Fragment, messagePage, page, problem } from './layout.ts';
import type { SignIn } from './sign-in.ts';
import type { PageContext, PageEnv, Visitors } from './visitors.ts';

const REFUSALS: Readonly<Record<DeviceRefusal, { status: 400 | 429; sentence: string }>> = {
  unknown: {
    status: 400,
    sentence: 'No device waits under this code. Compare it with the one on the device, or start there anew.',
  },
  'too many': { status: 429, sentence: 'Too many wrong codes. Wait some minutes and try again.' },
};

export type DeviceDeps = {
  visitors: Visitors;
  signIn: SignIn;
  server(): Promise<AuthorizationServer>;
};

/**
 * `/device`: somebody types, or confirms, the code that a device shows, and sees what asks before they decide
 * (RFC 8628 section 3.3). A link with the code in it only fills in the form.
 */
export class Device {
  readonly #deps: DeviceDeps;

  constructor(deps: DeviceDeps) {
    this.#deps = deps;
  }

  mount(app: Hono<PageEnv>): void {
    const { signIn } = this.#deps;
    app.get('/device', (c) => {
      const code = codeOf(c.req.query('user_code'));
      return signIn.signedIn(c, here(code), () => this.#ask(c, code));
    });
    app.post('/device', (c) => {
      const code = codeOf(field(c, 'user_code'));
      return signIn.signedIn(c, here(code), (session) => this.#decide(c, code, session));
    });
  }

  #ask(c: PageContext, code: string, refusal?: DeviceRefusal): Response | Promise<Response> {
    const refused = refusal && REFUSALS[refusal];
    const status = refused?.status ?? 200;
    if (status === 429) c.header('retry-after', '120');
    return c.html(codePage(formField(this.#deps.visitors, c), code, refused?.sentence), status);
  }

  async #decide(c: PageContext, code: string, { email }: BrowserSession): Promise<Response> {
    const { devices } = await this.#deps.server();
    const found = await devices.find(code, email);
    if (typeof found === 'string') return this.#ask(c, code, found);
    const name = shownName(found.client.name);
    const decision = field(c, 'decision');
    if (decision === 'deny') {
      const denied = await devices.deny(code, email);
      return denied === 'denied'
        ? c.html(messagePage('Refused', html`<strong>${name}</strong> gets no access.`))
        : this.#ask(c, code, denied);
    }
    const decide = async (): Promise<Response> => {
      if (decision !== 'allow')
        return c.html(devicePage(formField(this.#deps.visitors, c), code, found, email));
      const approved = await devices.approve(code, email);
      if (approved !== 'approved') return this.#ask(c, code, approved);
      return c.html(
        messagePage(
          'Done',
          html`<strong>${name}</strong> has access now: go back to the device.`,
          withdrawal(),
        ),
      );
    };
    if (!isSensitive(found.access)) return decide();
    return this.#deps.signIn.freshlyProven(c, here(code), decide);
  }
}

/** As devices show it: eight letters with a dash between; what else somebody typed comes back cut short. */
function codeOf(typed: string | undefined): string {
  const letters = (typed ?? '').toUpperCase().replace(/[^A-Z]/g, '');
  return letters.length === 8 ? `${letters.slice(0, 4)}-${letters.slice(4)}` : letters.slice(0, 20);
}

function here(code: string): string {
  return code === '' ? '/device' : `/device?user_code=${encodeURIComponent(code)}`;
}

function codePage(hidden: Fragment, code: string, wrong: string | undefined): Fragment {
  const described = wrong === undefined ? 'about' : 'problem about';
  return page(
    { title: 'Connect a device' },
    html`<section>
<h1>Connect a device</h1>
${problem(wrong)}
<form method="post" action="/device">${hidden}
<label for="user_code">The code that the device shows</label>
<input class="code" id="user_code" name="user_code" autocomplete="off" autocapitalize="characters" spellcheck="false"
 maxlength="20" required autofocus value="${code}" aria-describedby="${described}">
<p class="hint" id="about">Go on only if you started this yourself, on a device in front of you, and it shows this very
code. Whoever sent you a link or a code wants your access.</p>
<button>Go on</button>
</form>
</section>`,
  );
}

function devicePage(
  hidden: Fragment,
  code: string,
  { client, access }: DeviceRequest,
  email: string,
): Fragment {
  const name = shownName(client.name);
  return page(
    { title: `Allow ${name}?` },
    html`<section>
<h1>Allow <strong>${name}</strong>?</h1>
<p>A device wants to act for you, <strong>${email}</strong>. It shows the code <code class="whole">${code}</code>.</p>
${requestWords(client, access)}
<form method="post" action="/device">${hidden}
<input type="hidden" name="user_code" value="${code}">
<div class="two"><button name="decision" value="allow">Allow</button>
<button class="second" name="decision" value="deny">Refuse</button></div>
</form>
</section>
<footer><p>${withdrawal()}</p></footer>`,
  );
}

function withdrawal(): Fragment {
  return html`You can take it back at any time on the page of <a href="/account">your account</a>.`;
}
