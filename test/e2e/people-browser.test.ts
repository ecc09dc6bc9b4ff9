import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { accessibilityFaults, browserMissing, openBrowser, profile } from '../support/browser.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const PASSWORD = 'correct horse battery';

describe('in a browser', { skip: browserMissing() ?? false }, () => {
  let browser: Browser;
  let castellan: TestCastellan;
  before(async () => {
    castellan = await startCastellan([]);
    browser = await openBrowser();
  });
  after(async () => {
    await browser.close();
    await castellan[Symbol.asyncDispose]();
  });

  async function link(email: string): Promise<string> {
    const { stdout, stderr } = await castellan.cli('create', 'user', email, '--invite');
    assert.ok(stdout, stderr);
    return stdout.trim();
  }

  async function setPassword(page: Page, to: string): Promise<void> {
    await page.goto(to);
    await page.fill('#password', PASSWORD);
    await page.fill('#repeated', PASSWORD);
    await page.click('main button');
  }

  it('people set a password, sign out and in, and change it, without any script', async () => {
    const context = await profile(browser, { width: 360 });
    const page = await context.newPage();
    await setPassword(page, await link('alice@example.com'));
    assert.equal(new URL(page.url()).pathname, '/account');
    await page.click('header button');
    assert.equal(new URL(page.url()).pathname, '/sign-in');
    await page.fill('#email', 'alice@example.com');
    await page.fill('#password', 'not the password');
    await page.press('#password', 'Enter');
    assert.match((await page.textContent('[role=alert]')) ?? '', /do not belong together/);
    await page.fill('#password', PASSWORD);
    await page.press('#password', 'Enter');
    await page.fill('#current', PASSWORD);
    await page.fill('#password', 'wrong zebra accumulator');
    await page.fill('#repeated', 'wrong zebra accumulator');
    await page.click('text=Change password');
    assert.match((await page.textContent('[role=status]')) ?? '', /password is set/);
    await context.close();
  });

  it('axe finds nothing, and nothing is wider than 360 pixels, in light and dark', async () => {
    for (const dark of [false, true]) {
      const context = await profile(browser, { script: true, width: 360, dark });
      const page = await context.newPage();
      const shown: string[] = [];
      const look = async (what: string) => {
        shown.push(what);
        assert.deepEqual(await accessibilityFaults(page), [], what);
        const width = await page.evaluate('document.documentElement.scrollWidth');
        assert.ok(Number(width) <= 360, `${what} is ${width} pixels wide`);
      };
      const to = await link(`axe-${dark}@example.com`);
      for (const [what, at] of [
        ['front', '/'],
        ['sign-in', '/sign-in'],
        ['signed out', '/sign-out'],
        ['account, to a stranger', '/account'],
        ['nothing', '/account/none'],
      ] as const) {
        await page.goto(new URL(at, castellan.url).href);
        await look(what);
      }
      await page.goto(to);
      await look('invitation');
      await setPassword(page, to);
      await look('account');
      await page.goto(`${castellan.url}/sign-out`);
      await look('sign out');
      await page.goto(to);
      await look('used invitation');
      assert.equal(shown.length, 9);
      await context.close();
    }
  });

  it('T146: no page of ours is shown in a frame of another', async () => {
    const frames = createServer((_, res) => {
      res.setHeader('content-type', 'text/html');
      res.end(`<iframe src="${castellan.url}/sign-in"></iframe>`);
    });
    await new Promise<void>((resolve) => frames.listen(0, '127.0.0.1', resolve));
    const context = await profile(browser, { script: true });
    try {
      const page = await context.newPage();
      const refused = page.waitForEvent('console', (message) => /frame-ancestors/.test(message.text()));
      await page.goto(`http://localhost:${(frames.address() as AddressInfo).port}/`);
      await refused;
      const shown = await Promise.all(page.frames().map((frame) => frame.locator('#password').count()));
      assert.deepEqual([...new Set(shown)], [0]);
    } finally {
      await context.close();
      frames.close();
    }
  });

  it('T147: a page elsewhere can neither sign anybody in nor out', async () => {
    const context = await profile(browser, { script: true });
    const page = await context.newPage();
    await setPassword(page, await link('bob@example.com'));
    const forms = createServer((req, res) => {
      res.setHeader('content-type', 'text/html');
      const to = `${castellan.url}${req.url}`;
      res.end(`<form method="post" action="${to}"><button>Win</button></form>`);
    });
    await new Promise<void>((resolve) => forms.listen(0, '127.0.0.1', resolve));
    try {
      for (const at of ['/sign-out', '/sign-in', '/account/password']) {
        await page.goto(`http://localhost:${(forms.address() as AddressInfo).port}${at}`);
        const answer = page.waitForResponse((response) => response.url() === `${castellan.url}${at}`);
        await page.click('button');
        assert.equal((await answer).status(), 403, at);
      }
      await page.goto(`${castellan.url}/account`);
      assert.match((await page.textContent('main')) ?? '', /bob@example\.com/);
    } finally {
      await context.close();
      forms.close();
    }
  });

  it('T145: what a browser says of itself is text', async () => {
    const canary = '<img src=x onerror="document.title=666">';
    const context = await browser.newContext({ userAgent: `${canary} Firefox/1` });
    const page = await context.newPage();
    const reports: string[] = [];
    page.on('console', (message) => reports.push(message.text()));
    await setPassword(page, await link('carol@example.com'));
    await page.goto(`${castellan.url}/sign-in?next=/account&again=1`);
    await page.goto(`${castellan.url}/account`);
    assert.equal(await page.locator('main img').count(), 0);
    assert.equal(await page.title(), 'Your account · Castellan');
    assert.deepEqual(
      reports.filter((text) => /Content Security Policy/.test(text)),
      [],
    );
    await context.close();
  });
});
