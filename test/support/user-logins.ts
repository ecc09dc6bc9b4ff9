import assert from 'node:assert/strict';
import { Agent, administrate } from './agent.ts';
import { PageClient } from './page-client.ts';
import { PASSWORD } from './person.ts';
import { startCastellan, type TestCastellan } from './running-castellan.ts';
import { Vendor } from './vendor.ts';

export const SERVER = 'tracker';
export const TOOL = `${SERVER}__echo`;
const PROJECT = 'p';

/** A server at which each user signs in for themselves, and a vendor that says whose token it was called with. */
export class UserLogins implements AsyncDisposable {
  readonly castellan: TestCastellan;
  readonly vendor: Vendor;
  #visitors = 1;

  private constructor(castellan: TestCastellan, vendor: Vendor) {
    this.castellan = castellan;
    this.vendor = vendor;
  }

  static async start(): Promise<UserLogins> {
    const castellan = await startCastellan([]);
    const vendor = await Vendor.start();
    const logins = new UserLogins(castellan, vendor);
    const auth = { type: 'oauth', credentials: 'per-user' };
    await logins.put('Server', SERVER, { url: vendor.url, auth });
    await logins.put('Project', PROJECT, { servers: [SERVER] });
    return logins;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.castellan[Symbol.asyncDispose]();
    await this.vendor[Symbol.asyncDispose]();
  }

  put(kind: 'Server' | 'Project' | 'User' | 'Rbac', name: string, spec: object): Promise<unknown> {
    const route = `/${kind === 'Rbac' ? 'rbac' : `${kind.toLowerCase()}s`}/${name}`;
    return administrate(this.castellan, 'PUT', route, { kind, metadata: { name }, spec });
  }

  /** Users who may run the tools of the project, each with an agent and a browser in which they are signed in. */
  async people(names: readonly string[]): Promise<{ name: string; agent: Agent; browser: PageClient }[]> {
    for (const name of names) {
      await this.put('User', `${name}@example.com`, {});
      await this.put('Rbac', name, {
        subjects: [{ kind: 'User', name: `${name}@example.com` }],
        roleBindings: [
          { role: 'run', resource: 'tools', project: PROJECT },
          { role: 'create', resource: 'mcptokens', project: PROJECT },
        ],
      });
    }
    const people: { name: string; agent: Agent; browser: PageClient }[] = [];
    for (const name of names) people.push({ name, ...(await this.#person(`${name}@example.com`)) });
    return people;
  }

  /** Signs somebody in on the page that their agent was sent to, at the vendor under the same name. */
  async signIn(name: string, agent: Agent, browser: PageClient): Promise<void> {
    const url = await this.pageOf(agent);
    const back = new URL(await this.vendor.visit(await this.begin(browser, url), name));
    const { body } = await browser.get(back.pathname + back.search);
    assert.match(body, /You are signed in/);
  }

  /** The page that an agent without a grant is told of. */
  async pageOf(agent: Agent): Promise<string> {
    const { result } = await agent.call(TOOL);
    const error = result?._meta?.['castellan/error'];
    assert.deepEqual([error?.code, error?.server], ['UPSTREAM_NEEDS_LOGIN', SERVER], JSON.stringify(result));
    return String(error.url);
  }

  /** Begins on the page, and answers where the browser is sent. */
  async begin(browser: PageClient, url: string): Promise<string> {
    const { pathname, search } = new URL(url);
    assert.match((await browser.get(pathname + search)).body, /Sign in for <strong>tracker/);
    const { body } = await browser.post(pathname + search, {});
    const href = /<a class="button" href="([^"]+)"/.exec(body)?.[1]?.replaceAll('&amp;', '&');
    assert.ok(href, body);
    return href;
  }

  async #person(email: string): Promise<{ agent: Agent; browser: PageClient }> {
    const { stdout, stderr } = await this.castellan.cli('rotate', 'user', email);
    assert.ok(stdout, stderr);
    this.#visitors += 1;
    const browser = new PageClient(this.castellan.url, `127.0.7.${this.#visitors}`);
    const { pathname } = new URL(stdout.trim());
    await browser.get(pathname);
    const { status, body } = await browser.post(pathname, { password: PASSWORD, repeated: PASSWORD });
    assert.equal(status, 303, body);
    const made = await this.castellan.cli(
      ...['create', 'mcptoken', `agent-${this.#visitors}`, '-p', PROJECT, '--as', `User:${email}`],
      ...['--bind', 'role:run,resource:tools'],
    );
    assert.equal(made.code, 0, made.stderr);
    const url = `${this.castellan.url}/projects/${PROJECT}/mcp`;
    return { agent: new Agent(url, made.stdout.trim()), browser };
  }
}

/** So many calls of so many users in any order: each is made with the token of its own user. */
export async function eachTheirOwn(users: number, calls: number): Promise<void> {
  await using logins = await UserLogins.start();
  const people = await logins.people(Array.from({ length: users }, (_, at) => `user-${at}`));
  for (const { name, agent, browser } of people) await logins.signIn(name, agent, browser);
  let next = 0;
  const lane = async () => {
    for (let at = next++; at < calls; at = next++) {
      const person = people[Math.floor(Math.random() * people.length)];
      assert.ok(person);
      const { result, error } = await person.agent.call(TOOL);
      assert.equal(result?.content?.[0]?.text, `done for ${person.name}`, JSON.stringify(error ?? result));
    }
  };
  await Promise.all(Array.from({ length: 20 }, lane));
}
