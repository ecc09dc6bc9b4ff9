import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { administrate } from '../support/agent.ts';
import { accessibilityFaults, browserMissing, openBrowser, profile } from '../support/browser.ts';
import { PageClient } from '../support/page-client.ts';
import { eachTheirOwn, SERVER, TOOL, UserLogins } from '../support/user-logins.ts';

let logins: UserLogins;
before(async () => {
  logins = await UserLogins.start();
});
after(() => logins[Symbol.asyncDispose]());

describe('a server at which each user signs in for themselves', () => {
  it('sends an agent to a page of its own user, whose browser alone finishes what it began', async () => {
    const [alice, bob] = await logins.people(['alice', 'bob']);
    assert.ok(alice && bob);
    const url = await logins.pageOf(alice.agent);
    const { pathname, search } = new URL(url);
    const stranger = await new PageClient(logins.castellan.url).get(pathname + search);
    assert.equal(stranger.status, 401);
    assert.match(stranger.body, /name="password"/);
    const others = await bob.browser.get(pathname + search);
    assert.equal(others.status, 403);
    assert.match(others.body, /somebody else/);
    assert.doesNotMatch(others.body, /alice/);

    const back = new URL(await logins.vendor.visit(await logins.begin(alice.browser, url), 'alice'));
    const exchanges = logins.vendor.exchanges.length;
    assert.doesNotMatch((await logins.castellan.cli('mcp', 'status')).stderr, /a sign-in for/);
    for (const browser of [bob.browser, new PageClient(logins.castellan.url)]) {
      const { body } = await browser.get(back.pathname + back.search);
      assert.match(body, /nothing has happened/);
    }
    const pasted = await logins.castellan.cli('mcp', 'login', SERVER, `--paste=${back}`);
    assert.equal(pasted.code, 1, pasted.stdout);
    assert.equal(logins.vendor.exchanges.length, exchanges);
    assert.match((await alice.browser.get(back.pathname + back.search)).body, /You are signed in/);
    assert.match((await alice.browser.get(back.pathname + back.search)).body, /nothing has happened/);

    const called = await alice.agent.call(TOOL);
    assert.equal(called.result?.content?.[0]?.text, 'done for alice');
    await logins.pageOf(bob.agent);
  });

  it('is signed in for at the command line by whoever runs it, and by nobody as somebody else', async () => {
    const { castellan, vendor } = logins;
    const begun = await castellan.cli('mcp', 'login', SERVER, '--paste');
    const address = /^ {2}(http\S+)$/m.exec(begun.stderr)?.[1] ?? '';
    const status = await castellan.cli('mcp', 'status');
    assert.match(status.stderr, /a sign-in for tracker waits until .*castellan mcp login tracker --resume/);
    const done = await castellan.cli(
      'mcp',
      'login',
      SERVER,
      `--paste=${await vendor.visit(address, 'root')}`,
    );
    assert.equal(done.code, 0, done.stderr);
    const connected = await castellan.cli('mcp', 'connect', SERVER);
    assert.match(connected.stdout, /tracker connected/);
    await logins.put('User', 'editor@example.com', {});
    await logins.put('Rbac', 'editor', {
      subjects: [{ kind: 'User', name: 'editor@example.com' }],
      roleBindings: [{ role: 'edit', resource: 'servers' }],
    });
    const other = await castellan.cli('mcp', 'login', SERVER, '--as', 'User:editor@example.com');
    assert.equal(other.code, 77, other.stderr);
    assert.match(other.stderr, /nobody signs in as somebody else: leave out --as/);
    const out = await castellan.cli('mcp', 'logout', SERVER);
    assert.equal(out.code, 0, out.stderr);
  });

  it('is no longer signed in for by a user who is gone, whoever has the name next', async () => {
    const [carol] = await logins.people(['carol']);
    assert.ok(carol);
    await logins.signIn('carol', carol.agent, carol.browser);
    assert.equal((await carol.agent.call(TOOL)).result?.content?.[0]?.text, 'done for carol');
    for (const route of ['/rbac/carol', '/users/carol@example.com'])
      await administrate(logins.castellan, 'DELETE', route);
    const [next] = await logins.people(['carol']);
    assert.ok(next);
    await logins.pageOf(next.agent);
  });

  it('is called with the token of the very user, however calls mix', () => eachTheirOwn(4, 400));
});

describe('the pages of such a sign-in', { skip: browserMissing() ?? false }, () => {
  it('are whole at 360 pixels and need no script, and axe finds nothing', async () => {
    const [dora] = await logins.people(['dora']);
    assert.ok(dora);
    const { url } = logins.castellan;
    const browser = await openBrowser();
    try {
      const context = await profile(browser, { script: true, width: 360 });
      await context.addCookies([...dora.browser.cookies].map(([name, value]) => ({ name, value, url })));
      const page = await context.newPage();
      const look = async (what: string) => {
        assert.deepEqual(await accessibilityFaults(page), [], what);
        const width = await page.evaluate('document.documentElement.scrollWidth');
        assert.ok(Number(width) <= 360, `${what} is ${width} pixels wide`);
        assert.equal(await page.locator('script').count(), 0, what);
      };
      await page.goto(await logins.pageOf(dora.agent));
      await look('what it is about');
      await page.click('main button');
      await look('where to go');
      const href = (await page.getAttribute('main a.button', 'href')) ?? '';
      await page.goto(await logins.vendor.visit(href, 'dora'));
      assert.match((await page.textContent('main')) ?? '', /You are signed in/);
      await look('done');
    } finally {
      await browser.close();
    }
    assert.equal((await dora.agent.call(TOOL)).result?.content?.[0]?.text, 'done for dora');
  });
});
