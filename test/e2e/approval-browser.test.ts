import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, it } from 'node:test';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { type Agent, newAgent, writeConfig } from '../support/agent.ts';
import { accessibilityFaults, browserMissing, openBrowser, profile } from '../support/browser.ts';
import { temporaryFolder } from '../support/databases.ts';
import { held, holdingPolicy, stateOf } from '../support/held-calls.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const PASSWORD = 'correct horse battery';
const CANARY = '<img src=x onerror="document.title=666"><script>document.title=666</script>';
/** Reorders, hides, joins and ends what stands around it, and is markup. */
const HOSTILE = `a\u202eb\u200bc\u2066d\u00ade\u0007f\u001b[31mg${CANARY}</pre></main>{{7*7}}javascript:alert(1)`;
const UNSEEN = /[\u202a-\u202e\u2066-\u2069\u200b-\u200f\u00ad\u0007\u001b]/;
const HIDDEN = ['U+202E', 'U+200B', 'U+2066', 'U+00AD'];

describe('the page of an approval in a browser', { skip: browserMissing() ?? false }, () => {
  let browser: Browser;
  let castellan: TestCastellan;
  let oracle: OracleUpstream;
  let agent: Agent;
  let hostileTool: string;
  before(async () => {
    const folder = await temporaryFolder();
    oracle = await OracleUpstream.start('modern', ['echo', `t\u202eool${CANARY}`]);
    oracle.about = { description: HOSTILE, title: HOSTILE };
    const config = await writeConfig(
      path.join(folder, 'castellan.json'),
      { x: { url: oracle.url } },
      { demo: { servers: ['x'], changedTools: 'warn' } },
    );
    castellan = await startCastellan(['--config', config]);
    agent = await newAgent(castellan, 'demo');
    const file = path.join(folder, 'policy.json');
    await writeFile(file, JSON.stringify(holdingPolicy(['x__*'], { selfApproval: 'page' })));
    assert.equal((await castellan.cli('apply', '-f', file)).code, 0);
    const { result } = await agent.ask('tools/list');
    const tools: { name: string }[] = result?.tools ?? [];
    hostileTool = tools.find(({ name }) => name !== 'x__echo')?.name ?? '';
    browser = await openBrowser();
  });
  after(async () => {
    await browser?.close();
    await castellan?.[Symbol.asyncDispose]();
    await oracle?.[Symbol.asyncDispose]();
  });

  /** Whom the agent belongs to, signed in; everything that the browser asked for or complained of is kept. */
  async function atBrowser(options: Parameters<typeof profile>[1]): Promise<{
    context: BrowserContext;
    page: Page;
    asked: string[];
    said: string[];
  }> {
    const { stdout, stderr } = await castellan.cli('rotate', 'user', 'admin');
    assert.ok(stdout, stderr);
    const context = await profile(browser, options);
    const page = await context.newPage();
    const asked: string[] = [];
    const said: string[] = [];
    page.on('request', (request) => asked.push(request.url()));
    page.on('console', (message) => said.push(message.text()));
    await page.goto(stdout.trim());
    await page.fill('#password', PASSWORD);
    await page.fill('#repeated', PASSWORD);
    await page.click('main button');
    return { context, page, asked, said };
  }
  const pageOf = (id: string) => `${castellan.url}/approvals/${id}`;
  const sentWith = (text: string) => oracle.calls.filter((call) => call.arguments.text === text).length;

  it('shows whatever is hostile as text, wide and narrow, light and dark, and axe finds nothing', async () => {
    const id = await held(agent, hostileTool, { [HOSTILE]: HOSTILE });
    const rejected = await held(agent, 'x__echo', { text: 'rejected' });
    for (const [width, dark] of [
      [1280, false],
      [360, false],
      [360, true],
    ] as const) {
      const { context, page, asked, said } = await atBrowser({ script: true, width, dark });
      const look = async (what: string) => {
        assert.deepEqual(await accessibilityFaults(page), [], `${what} at ${width}`);
        const wide = Number(await page.evaluate('document.documentElement.scrollWidth'));
        assert.ok(wide <= width, `${what} is ${wide} pixels wide`);
        assert.match(await page.title(), /· Castellan$/);
        assert.doesNotMatch((await page.textContent('main')) ?? '', UNSEEN, what);
        assert.equal(await page.locator('script, main img, iframe, [onerror]').count(), 0);
      };
      oracle.about = { description: HOSTILE, title: HOSTILE };
      await page.goto(pageOf(id));
      await look('pending');
      const marks = await page.locator('mark').allTextContents();
      for (const hidden of HIDDEN) assert.ok(marks.filter((mark) => mark === hidden).length >= 3, hidden);
      const text = (await page.textContent('main')) ?? '';
      assert.ok(text.split('<script>').length > 3, 'the markup is there to read');
      await page.goto(pageOf(rejected));
      if (await page.locator('#reason').count()) {
        await page.fill('#reason', HOSTILE);
        await page.click('button[value=reject]');
      }
      assert.equal(await stateOf(castellan, rejected), 'rejected');
      await look('rejected');
      assert.ok((await page.locator('mark').allTextContents()).includes('U+202E'));
      oracle.about = { description: `${HOSTILE} and more` };
      await page.goto(pageOf(id));
      await page.getByText('It cannot be approved any more').waitFor();
      await look('changed');
      assert.equal(await page.locator('button[value=approve]').count(), 0);
      assert.deepEqual(
        asked.filter((url) => !url.startsWith(`${castellan.url}/`)),
        [],
      );
      assert.deepEqual(
        said.filter((line) => /Content Security Policy|error/i.test(line)),
        [],
      );
      await context.close();
    }
    assert.equal(await stateOf(castellan, id), 'pending');
    assert.equal(oracle.calls.length, 0);
  });

  it('lets nobody approve what it has cut short, and takes the decision without any script', async () => {
    const text = `long ${'x'.repeat(30_000)}`;
    const id = await held(agent, 'x__echo', { text });
    const { context, page } = await atBrowser({ width: 360 });
    await page.goto(pageOf(id));
    assert.match(
      (await page.textContent('main')) ?? '',
      /This is not all: the first 20000 of \d+ characters/,
    );
    assert.equal(await page.locator('button[value=approve]').count(), 0);
    assert.equal(await page.getByRole('button', { name: 'Approve' }).isDisabled(), true);
    await page.click('text=Show everything');
    await page.click('button[value=approve]');
    assert.equal(await page.textContent('h1'), 'Approved and made');
    assert.equal(await stateOf(castellan, id), 'succeeded');
    assert.equal(sentWith(text), 1);
    await page.reload();
    assert.equal(sentWith(text), 1);
    await context.close();
  });

  it('asks for the password again when it was proved more than five minutes ago', async () => {
    const id = await held(agent, 'x__echo', { text: 'proof' });
    const { context, page } = await atBrowser({});
    await page.goto(pageOf(id));
    const approve = page.locator('button[value=approve]');
    assert.equal(await approve.count(), 1);
    const database = new DatabaseSync(path.join(castellan.dataDir, 'castellan.db'), { timeout: 5_000 });
    database.prepare('update browser_sessions set proven_at = ?').run(Date.now() - 301_000);
    database.close();
    // The form that is still open is not enough any more.
    await approve.click();
    assert.equal(await stateOf(castellan, id), 'pending');
    assert.equal(new URL(page.url()).pathname, '/sign-in');
    await page.goto(pageOf(id));
    assert.equal(await approve.count(), 0);
    await page.click('text=Prove that it is you');
    await page.fill('#password', PASSWORD);
    await page.press('#password', 'Enter');
    assert.equal(page.url(), pageOf(id));
    await approve.click();
    assert.equal(await stateOf(castellan, id), 'succeeded');
    assert.equal(sentWith('proof'), 1);
    await context.close();
  });

  it('changes nothing when it is looked at, nor for a form of another page', async () => {
    const id = await held(agent, 'x__echo', { text: 'looked at' });
    const { context, page } = await atBrowser({ script: true });
    for (const method of ['GET', 'HEAD'] as const)
      for (const query of ['', '?decision=approve&shown=all', '?show=all'])
        assert.equal((await context.request.fetch(pageOf(id) + query, { method })).status(), 200);
    const form = { decision: 'approve', shown: 'all' };
    const origin = { origin: castellan.url };
    for (const headers of [{}, origin])
      assert.equal((await context.request.post(pageOf(id), { form, headers })).status(), 403);
    const elsewhere = createServer((_, response) => {
      response.setHeader('content-type', 'text/html');
      response.end(`<form method="post" action="${pageOf(id)}"><button name="decision" value="approve">Win</button>
        <input name="shown" value="all"></form>`);
    });
    await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
    try {
      await page.goto(`http://localhost:${(elsewhere.address() as AddressInfo).port}/`);
      const answer = page.waitForResponse((response) => response.url() === pageOf(id));
      await page.click('button');
      assert.equal((await answer).status(), 403);
    } finally {
      elsewhere.close();
    }
    assert.equal(await stateOf(castellan, id), 'pending');
    assert.equal(sentWith('looked at'), 0);
    await context.close();
  });
});
