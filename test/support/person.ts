import assert from 'node:assert/strict';
import { type Answered, PageClient } from './page-client.ts';
import type { TestCastellan } from './running-castellan.ts';

export const PASSWORD = 'correct horse battery';

/** Makes a user who has a password and may run every tool of a project. */
export async function newPerson(castellan: TestCastellan, email: string, project = 'demo'): Promise<void> {
  const { stdout, stderr } = await castellan.cli('create', 'user', email, '--invite');
  assert.ok(stdout, stderr);
  const name = email.replace(/@.*/, '');
  const binding = `role:run,resource:tools,project:${project}`;
  const made = await castellan.cli(
    'create',
    'rbac',
    name,
    '--subject',
    `User:${email}`,
    '--roleBindings',
    binding,
  );
  assert.equal(made.code, 0, made.stderr);
  const { pathname } = new URL(stdout.trim());
  const browser = new PageClient(castellan.url);
  await browser.get(pathname);
  const answer = await browser.post(pathname, { password: PASSWORD, repeated: PASSWORD });
  assert.equal(answer.status, 303, answer.body);
}

/** Somebody at the pages of a server, without a browser, but with everything that one sends. */
export class Person {
  readonly #origin: string;
  readonly #email: string;
  readonly #browser: PageClient;

  constructor(url: string, email: string) {
    this.#origin = new URL(url).origin;
    this.#email = email;
    this.#browser = new PageClient(this.#origin);
  }

  /** Signs in and decides, as asked; gives the address of the client that the browser is sent back to. */
  async decide(url: URL | string, decision: 'allow' | 'deny' = 'allow'): Promise<URL> {
    let at = new URL(url);
    assert.equal(at.origin, this.#origin);
    let answer = await this.#browser.get(at.pathname + at.search);
    for (let step = 0; step < 12; step += 1) {
      const { location } = answer.headers;
      if (location !== undefined) {
        at = new URL(location, at);
        if (at.origin !== this.#origin) return at;
        answer = await this.#browser.get(at.pathname + at.search);
      } else answer = await this.#fillIn(answer, at, decision);
    }
    throw new Error(`no end at ${at}`);
  }

  /** Enters the code of a device, looks at what asks, and allows it. */
  async enter(userCode: string): Promise<void> {
    await this.#browser.signIn(this.#email, PASSWORD);
    await this.#browser.get('/device');
    const asked = await this.#browser.post('/device', { user_code: userCode });
    assert.match(asked.body, /value="allow"/, asked.body);
    const done = await this.#browser.post('/device', { user_code: userCode, decision: 'allow' });
    assert.match(done.body, /has access now/, done.body);
  }

  async #fillIn(answer: Answered, at: URL, decision: string): Promise<Answered> {
    const to = at.pathname + at.search;
    if (answer.body.includes('name="password"'))
      return this.#browser.post(to, { email: this.#email, password: PASSWORD });
    assert.match(answer.body, /name="decision"/, answer.body);
    return this.#browser.post(to, { decision });
  }
}
