import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { request, type Server } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Browser } from 'playwright-core';
import { browserMissing, openBrowser, profile } from '../support/browser.ts';
import { localhostCertificate, localhostKey } from '../support/localhost-certificate.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const PASSWORD = 'correct horse battery';

describe('behind https', { skip: browserMissing() ?? false }, () => {
  let browser: Browser;
  let proxy: Server;
  let castellan: TestCastellan;
  let origin = '';
  let target = '';
  before(async () => {
    proxy = createServer({ key: localhostKey, cert: localhostCertificate }, (req, res) => {
      const on = request(
        new URL(req.url ?? '/', target),
        { method: req.method, headers: req.headers },
        (answer) => {
          res.writeHead(answer.statusCode ?? 500, answer.headers);
          answer.pipe(res);
        },
      );
      req.pipe(on);
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    origin = `https://localhost:${(proxy.address() as AddressInfo).port}`;
    castellan = await startCastellan(['--public-url', origin, '--config', 'examples/quickstart.yaml']);
    target = JSON.parse(await readFile(path.join(castellan.dataDir, 'admin.json'), 'utf8')).url;
    browser = await openBrowser();
  });
  after(async () => {
    await browser.close();
    proxy.closeAllConnections();
    proxy.close();
    await castellan[Symbol.asyncDispose]();
  });

  it('T148: people sign in and decide with cookies that are bound to the host and to https', async () => {
    const context = await profile(browser, { width: 360 });
    const page = await context.newPage();
    const link = /https:\S+\/invite\/\S+/.exec(castellan.stderr())?.[0];
    assert.ok(link, castellan.stderr());
    assert.equal(new URL(link).origin, origin);
    await page.goto(link);
    await page.fill('#password', PASSWORD);
    await page.fill('#repeated', PASSWORD);
    await page.click('main button');
    assert.equal(page.url(), `${origin}/account?done=password`);
    await page.click('header button');
    const query = new URLSearchParams({
      client_id: 'castellan-cli',
      response_type: 'code',
      redirect_uri: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/callback`,
      code_challenge: createHash('sha256').update(randomBytes(32).toString('hex')).digest('base64url'),
      code_challenge_method: 'S256',
      resource: `${origin}/projects/demo/mcp`,
    });
    await page.goto(`${origin}/authorize?${query}`);
    await page.fill('#email', 'admin');
    await page.fill('#password', PASSWORD);
    await page.click('main button');
    assert.match(page.url(), /^https:\/\/localhost:\d+\/consent\//);
    const cookies = await context.cookies();
    assert.deepEqual(
      cookies.filter(({ secure, httpOnly }) => !secure || !httpOnly),
      [],
    );
    const session = cookies.find(({ name }) => name === '__Host-castellan-session');
    assert.deepEqual([session?.path, session?.sameSite], ['/', 'Lax']);
    for (const { name } of cookies) assert.match(name, /^__(?:Host|Secure)-castellan-/);
    const sent = page.waitForRequest((one) => one.url().startsWith('http://127.0.0.1:'));
    await page.click('button[value=allow]');
    const back = new URL((await sent).url());
    assert.ok(back.searchParams.has('code'));
    assert.equal(back.searchParams.get('iss'), origin);
    await context.close();
  });
});
