import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, it } from 'node:test';
import type { Browser, Page } from 'playwright-core';
import { accessibilityFaults, browserMissing, openBrowser, profile } from '../support/browser.ts';
import { temporaryFolder } from '../support/databases.ts';
import { localhostCertificate, localhostKey } from '../support/localhost-certificate.ts';
import { type Answered, PageClient } from '../support/page-client.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const ALICE = 'alice@example.com';
const BOB = 'bob@example.com';
const PASSWORD = 'correct horse battery';
const CANARY = '<img src=x onerror=alert(1)>';

/** Clients of every kind of redirect; `сanary` begins with a Cyrillic letter and turns what follows around. */
const CONFIG = `
kind: Project
metadata: { name: demo }
spec: { servers: [] }
---
kind: Project
metadata: { name: other }
spec: { servers: [] }
---
kind: OAuthClient
metadata: { name: web }
spec: { displayName: "Web client", redirectUris: [https://app.example.com/back], tokenEndpointAuthMethod: none, scopes: [mcp, "mcp:operator"] }
---
kind: OAuthClient
metadata: { name: web-two }
spec: { displayName: "Web client", redirectUris: [https://app.example.com/back], tokenEndpointAuthMethod: none }
---
kind: OAuthClient
metadata: { name: native }
spec: { displayName: "Native client", redirectUris: ["com.example.native:/back"], tokenEndpointAuthMethod: none }
---
kind: OAuthClient
metadata: { name: local }
spec: { displayName: "Local client", redirectUris: ["http://127.0.0.1/back"], tokenEndpointAuthMethod: none }
---
kind: OAuthClient
metadata: { name: canary }
spec: { displayName: "${CANARY} \\u0441anary\\u202e\\u200b", redirectUris: [https://app.example.com/back], tokenEndpointAuthMethod: none }
---
kind: OAuthClient
metadata: { name: long }
spec: { displayName: "${'long '.repeat(40)}", redirectUris: [https://app.example.com/back], tokenEndpointAuthMethod: none }
`;
const REDIRECTS: Readonly<Record<string, string>> = {
  native: 'com.example.native:/back',
  local: 'http://127.0.0.1:4711/back',
  'castellan-cli': 'http://127.0.0.1:4711/callback',
};

let castellan: TestCastellan;
let serial = 1;
before(async () => {
  const config = path.join(await temporaryFolder(), 'castellan.yaml');
  await writeFile(config, CONFIG);
  castellan = await startCastellan(['--config', config]);
  for (const email of [ALICE, BOB]) {
    const { stdout, stderr } = await castellan.cli('create', 'user', email, '--invite');
    assert.ok(stdout, stderr);
    const client = visitor();
    const { pathname } = new URL(stdout.trim());
    await client.get(pathname);
    assert.equal((await client.post(pathname, { password: PASSWORD, repeated: PASSWORD })).status, 303);
  }
});
after(() => castellan[Symbol.asyncDispose]());

function visitor(): PageClient {
  serial += 1;
  return new PageClient(castellan.url, `127.0.6.${serial}`);
}

async function signedIn(email = ALICE): Promise<PageClient> {
  const client = visitor();
  assert.equal((await client.signIn(email, PASSWORD)).status, 303);
  return client;
}

function request(clientId: string, more: Record<string, string> = {}): string {
  const verifier = randomBytes(32).toString('base64url');
  return `/authorize?${new URLSearchParams({
    client_id: clientId,
    response_type: 'code',
    redirect_uri: REDIRECTS[clientId] ?? 'https://app.example.com/back',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    resource: `${castellan.url}/projects/demo/mcp`,
    state: 'the state',
    ...more,
  })}`;
}

/** Goes where it is sent, as long as that is here; `at` is where it ended. */
async function follow(client: PageClient, from: string): Promise<Answered & { at: string }> {
  let at = from;
  for (let hops = 0; hops < 10; hops += 1) {
    const answer = await client.get(at);
    const { location } = answer.headers;
    if (location === undefined) return { ...answer, at };
    const to = new URL(location, castellan.url);
    if (to.origin !== castellan.url) return { ...answer, at: location };
    at = to.pathname + to.search;
  }
  throw new Error('no end');
}

async function decide(client: PageClient, at: string, decision: string): Promise<string> {
  const { status, headers } = await client.post(at, { decision });
  assert.equal(status, 303);
  return (await follow(client, String(headers.location))).at;
}

/** Sets back when everybody was last proven. */
function age(minutes: number): void {
  const database = new DatabaseSync(path.join(castellan.dataDir, 'castellan.db'), { timeout: 5_000 });
  database.exec(`update browser_sessions set proven_at = proven_at - ${minutes * 60_000}`);
  database.close();
}

describe('the page on which somebody signs in for a client', () => {
  it('authorization server checklist 14: forms are answered with 303, and pages are alone and silent', async () => {
    const client = visitor();
    const page = await follow(client, request('web'));
    assert.match(page.at, /^\/sign-in\/[\w-]+$/);
    assert.match(page.body, /to go on to <strong>Web client<\/strong>/);
    const wrong = await client.post(page.at, { email: ALICE, password: 'wrong' });
    assert.equal(wrong.status, 401);
    assert.match(wrong.body, /Web client/);
    const right = await client.post(page.at, { email: ALICE, password: PASSWORD });
    assert.deepEqual([right.status, right.headers.location], [303, page.at]);
    const consent = await follow(client, page.at);
    assert.match(consent.at, /^\/consent\/[\w-]+$/);
    for (const one of [page, wrong, consent]) {
      assert.equal(one.headers['referrer-policy'], 'no-referrer');
      assert.match(String(one.headers['content-security-policy']), /default-src 'none'/);
      assert.doesNotMatch(one.body, /(?:src|href|action)="(?:https?:)?\/\//, 'nothing from elsewhere');
    }
    const allowed = await client.post(consent.at, { decision: 'allow' });
    assert.equal(allowed.status, 303);
    const back = new URL((await follow(client, String(allowed.headers.location))).at);
    assert.equal(back.origin + back.pathname, 'https://app.example.com/back');
    assert.deepEqual([...back.searchParams.keys()].sort(), ['code', 'iss', 'state']);
  });

  it('T60: signing in for a client changes the session, and the request stays in its browser', async () => {
    const client = await signedIn(BOB);
    const before = client.cookies.get('castellan-session');
    age(1);
    const { at } = await follow(client, request('web', { prompt: 'login' }));
    assert.match(at, /^\/sign-in\//);
    await client.post(at, { email: BOB, password: PASSWORD });
    assert.notEqual(client.cookies.get('castellan-session'), before);
    const consent = await follow(client, at);
    assert.match(consent.at, /^\/consent\//);
    const elsewhere = await signedIn(BOB);
    for (const other of [elsewhere, visitor()]) {
      const { status, body } = await other.get(consent.at);
      assert.ok([401, 404].includes(status));
      assert.doesNotMatch(body, /Web client/);
    }
    await elsewhere.get('/account');
    assert.equal((await elsewhere.post(consent.at, { decision: 'allow' })).status, 404);
    // Somebody else who signs in in this browser does not inherit it.
    await client.get('/sign-out');
    await client.post('/sign-out', {});
    await client.signIn(ALICE, PASSWORD);
    assert.equal((await client.get(consent.at)).status, 404);
  });
});

describe('the page that asks for consent', () => {
  it('authorization server checklist 15: it names client, access and host, and takes its own forms alone', async () => {
    const client = await signedIn(BOB);
    const page = await follow(client, request('web', { scope: 'mcp mcp:operator' }));
    for (const shown of [
      'Web client',
      BOB,
      'demo',
      'app.example.com',
      'mcp:operator',
      'operator surface',
      'consumer',
    ])
      assert.ok(page.body.includes(shown), shown);
    assert.match(String(page.headers['content-security-policy']), /frame-ancestors 'none'/);
    assert.equal(page.headers['x-frame-options'], 'DENY');
    const type = { 'content-type': 'application/x-www-form-urlencoded' };
    assert.equal((await client.send('POST', page.at, 'decision=allow', type)).status, 403);
    const foreign = /name="form" value="(\w+)"/.exec((await visitor().get('/sign-in')).body)![1];
    assert.equal((await client.send('POST', page.at, `decision=allow&form=${foreign}`, type)).status, 403);
    const back = new URL(await decide(client, page.at, 'deny'));
    assert.equal(back.searchParams.get('error'), 'access_denied');
    assert.equal(back.searchParams.get('state'), 'the state');
    assert.equal((await client.get(page.at)).status, 404, 'it is over');
  });

  it('authorization server checklist 16: consent is each person’s own, for each client, project and scope', async () => {
    const client = await signedIn(ALICE);
    const asks = async (who: PageClient, clientId: string, more?: Record<string, string>) =>
      follow(who, request(clientId, more));
    const first = await asks(client, 'web-two');
    assert.match(first.at, /^\/consent\//);
    await decide(client, first.at, 'allow');
    assert.match((await asks(client, 'web-two')).at, /^https:.*[?&]code=/, 'it is remembered');
    assert.match((await asks(await signedIn(BOB), 'web-two')).at, /^\/consent\//, 'for her alone');
    // T48: another client with the same name and redirect.
    assert.match((await asks(client, 'canary')).at, /^\/consent\//);
    const elsewhere = { resource: `${castellan.url}/projects/other/mcp` };
    assert.match((await asks(client, 'web-two', elsewhere)).at, /^\/consent\//);
    const account = await client.get('/account');
    assert.match(account.body, /Web client<\/strong> · demo/);
    const to = /\/account\/clients\/grn_\w+\/withdraw/.exec(account.body)![0];
    const bob = await signedIn(BOB);
    await bob.get('/account');
    await bob.post(to, {});
    assert.match((await asks(client, 'web-two')).at, /code=/, 'nobody else takes it back');
    await client.get('/account');
    assert.equal((await client.post(to, {})).headers.location, '/account?done=grant');
    assert.match((await asks(client, 'web-two')).at, /^\/consent\//, 'it was taken back');
  });

  it('authorization server checklist 26: what only this machine vouches for is said', async () => {
    const client = await signedIn(ALICE);
    for (const [clientId, host, warning] of [
      ['local', '127.0.0.1:4711', /every program here could say/],
      ['native', 'com.example.native:', /every program on this\s+device could have taken/],
      ['castellan-cli', '127.0.0.1:4711', /every program here could say/],
      // Ids are no secrets, so each of them is asked each time.
      ['local', '127.0.0.1:4711', /every program here could say/],
      ['native', 'com.example.native:', /every program on this\s+device could have taken/],
      ['castellan-cli', '127.0.0.1:4711', /every program here could say/],
    ] as const) {
      const page = await follow(client, request(clientId));
      assert.match(page.at, /^\/consent\//, clientId);
      assert.ok(page.body.includes(`<strong>${host}</strong>`));
      assert.match(page.body, warning);
      assert.match(
        String(page.headers['content-security-policy']),
        /form-action 'self' (?:com\.example\.native:|http:\/\/127\.0\.0\.1:4711);/,
      );
      assert.match(await decide(client, page.at, 'allow'), /code=/);
    }
    const web = await follow(client, request('web-two'));
    assert.doesNotMatch(web.body, /class="note warn"/);
  });

  it('is asked so many times from one place with nobody signed in, and nobody else has less', async () => {
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    const resource = encodeURIComponent(`${castellan.url}/projects/demo/mcp`);
    const device = `client_id=castellan-cli&resource=${resource}`;
    for (const ask of [
      (who: PageClient) => who.get(request('web')),
      (who: PageClient) => who.send('POST', '/device_authorization', device, form),
    ]) {
      const [stranger, other] = [visitor(), visitor()];
      let answer = await ask(stranger);
      for (let asked = 0; asked < 400 && answer.status !== 429; asked += 1) answer = await ask(stranger);
      assert.equal(answer.status, 429);
      assert.ok(Number(answer.headers['retry-after']) >= 1);
      assert.ok((await ask(other)).status < 400);
    }
  });

  it('T49: names of strangers are text, one short line, without what cannot be seen', async () => {
    const client = await signedIn(ALICE);
    const { body } = await follow(client, request('canary'));
    assert.match(body, /&lt;img src=x onerror=alert\(1\)&gt; сanary</);
    assert.doesNotMatch(body, /<img|[\u202e\u200b]/u);
    assert.match(body, /<code>canary<\/code>/, 'its id tells it from a name that looks the same');
    const long = await follow(client, request('long'));
    const name = /<h1>Allow <strong>([^<]*)</.exec(long.body)![1]!;
    assert.ok(name.length <= 81, name);
  });

  it('asks for the password again before more than the use of tools', async () => {
    const client = await signedIn(ALICE);
    age(6);
    assert.match((await follow(client, request('web-two'))).at, /^\/consent\//, 'use is no sensitive act');
    const page = await follow(client, request('web', { scope: 'mcp:operator' }));
    assert.match(page.at, /^\/sign-in\?again=1&next=%2Fconsent%2F/);
    assert.match(page.body, /readonly/);
    const proven = await client.post('/sign-in', { email: ALICE, password: PASSWORD });
    assert.match(String(proven.headers.location), /^\/consent\//);
    const consent = await follow(client, String(proven.headers.location));
    assert.match(consent.body, /operator surface/);
    age(6);
    const late = await client.post(consent.at, { decision: 'allow' });
    assert.match(String(late.headers.location), /^\/sign-in\?again=1/, 'it took too long');
    await client.get(String(late.headers.location));
    await client.post('/sign-in', { email: ALICE, password: PASSWORD });
    await client.get(consent.at);
    assert.match(await decide(client, consent.at, 'allow'), /code=/);
  });
});

describe('the page for devices', () => {
  type Device = { device_code: string; user_code: string; verification_uri_complete: string };
  const start = async (scope = 'mcp'): Promise<Device> => {
    const body = new URLSearchParams({
      client_id: 'castellan-cli',
      scope,
      resource: scope === 'api' ? `${castellan.url}/api/v1` : `${castellan.url}/projects/demo/mcp`,
    });
    const answer = await fetch(`${castellan.url}/device_authorization`, { method: 'POST', body });
    assert.equal(answer.status, 200, await answer.clone().text());
    return (await answer.json()) as Device;
  };
  const poll = async ({ device_code }: Device): Promise<Record<string, unknown>> => {
    const grant_type = 'urn:ietf:params:oauth:grant-type:device_code';
    const body = new URLSearchParams({ grant_type, device_code, client_id: 'castellan-cli' });
    return (await fetch(`${castellan.url}/token`, { method: 'POST', body })).json() as Promise<
      Record<string, unknown>
    >;
  };

  it('authorization server checklist 27: nothing happens before the user has seen the client and says yes', async () => {
    const device = await start();
    const complete = new URL(device.verification_uri_complete);
    const client = visitor();
    assert.equal((await client.get(complete.pathname + complete.search)).status, 401);
    await client.signIn(ALICE, PASSWORD);
    const code = await client.get(complete.pathname + complete.search);
    assert.match(code.body, new RegExp(`value="${device.user_code}"`));
    assert.doesNotMatch(code.body, /Castellan command line/, 'a link tells nothing yet');
    const shown = await client.post('/device', {
      user_code: device.user_code.toLowerCase().replace('-', ' '),
    });
    for (const text of ['Castellan command line', ALICE, 'demo', device.user_code])
      assert.ok(shown.body.includes(text), text);
    assert.equal((await poll(device)).error, 'authorization_pending');
    const done = await client.post('/device', { decision: 'allow' });
    assert.match(done.body, /has access now/);
    assert.match(String((await poll(device)).access_token ?? (await eventuallyToken(device))), /^cst_at_/);
    assert.match((await client.get('/account')).body, /Castellan command line<\/strong> · demo/);
  });

  const eventuallyToken = async (device: Device): Promise<unknown> => {
    const until = Date.now() + 15_000;
    for (;;) {
      const { access_token: token, error } = await poll(device);
      if (token !== undefined) return token;
      assert.ok(error === 'slow_down' && Date.now() < until, String(error));
      await new Promise((resolve) => setTimeout(resolve, 1_000));
    }
  };

  it('authorization server checklist 27: a refusal is final, and codes cannot be tried out', async () => {
    const device = await start();
    const client = await signedIn(BOB);
    await client.get('/device');
    await client.post('/device', { user_code: device.user_code });
    const refused = await client.post('/device', { decision: 'deny' });
    assert.match(refused.body, /gets no access/);
    assert.equal((await poll(device)).error, 'access_denied');
    const waiting = await start();
    await client.get('/device');
    const statuses: number[] = [];
    for (let tries = 0; tries < 8; tries += 1)
      statuses.push((await client.post('/device', { user_code: `BCDF-GHJ${'KLMNPQRS'[tries]}` })).status);
    assert.deepEqual(statuses, [400, 400, 400, 400, 400, 429, 429, 429]);
    const right = await client.post('/device', { user_code: waiting.user_code });
    assert.equal(right.status, 429);
    assert.ok(Number(right.headers['retry-after']) > 0);
    assert.equal((await (await signedIn(ALICE)).get('/device')).status, 200, 'nobody else waits for that');
  });

  it('asks for the password again before a device gets everything', async () => {
    const device = await start('api');
    const client = await signedIn(ALICE);
    age(6);
    await client.get('/device');
    const { headers } = await client.post('/device', { user_code: device.user_code });
    assert.match(String(headers.location), /^\/sign-in\?again=1&next=%2Fdevice%3Fuser_code%3D/);
    await client.get(String(headers.location));
    const proven = await client.post('/sign-in', { email: ALICE, password: PASSWORD });
    await client.get(String(proven.headers.location));
    assert.match(
      (await client.post('/device', { user_code: device.user_code })).body,
      /everything that you may do/,
    );
  });
});

describe('in a browser', { skip: browserMissing() ?? false }, () => {
  let browser: Browser;
  let callback: Server;
  let app: Server;
  const listening = async <T extends Server>(server: T): Promise<T> => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return server;
  };
  const portOf = (server: Server) => (server.address() as AddressInfo).port;
  before(async () => {
    const answer: RequestListener = (_, res) => void res.end('you are back');
    callback = await listening(createServer(answer));
    app = await listening(createTlsServer({ key: localhostKey, cert: localhostCertificate }, answer));
    browser = await openBrowser({ name: 'app.example.com', port: portOf(app) });
  });
  after(async () => {
    await browser.close();
    callback.close();
    app.close();
  });

  const local = () => `http://127.0.0.1:${portOf(callback)}/back`;
  const open = (page: Page, clientId: string, more: Record<string, string> = {}) =>
    page.goto(castellan.url + request(clientId, more));

  async function proven(page: Page): Promise<void> {
    await page.fill('#email', ALICE);
    await page.fill('#password', PASSWORD);
    await page.click('main button');
  }

  it('a client on this machine gets its code without any script', async () => {
    const context = await profile(browser, { width: 360 });
    const page = await context.newPage();
    await open(page, 'local', { redirect_uri: local(), prompt: 'consent' });
    await page.fill('#email', ALICE);
    await page.fill('#password', 'wrong');
    await page.click('main button');
    await proven(page);
    await page.click('button[value=allow]');
    assert.match(page.url(), /\/back\?code=/);
    assert.equal(await page.textContent('body'), 'you are back');
    await context.close();
  });

  it('a client on the web gets its code without any script', async () => {
    const context = await profile(browser);
    const page = await context.newPage();
    await open(page, 'web', { prompt: 'consent' });
    await proven(page);
    await page.click('button[value=allow]');
    assert.match(page.url(), /^https:\/\/app\.example\.com\/back\?code=/);
    assert.equal(await page.textContent('body'), 'you are back');
    // What was allowed is not asked again, also where a form leads straight through.
    await context.clearCookies();
    await open(page, 'web');
    await proven(page);
    assert.match(page.url(), /^https:\/\/app\.example\.com\/back\?code=/);
    await context.close();
  });

  it('axe finds nothing on what clients and devices show, at 360 pixels', async () => {
    for (const dark of [false, true]) {
      const context = await profile(browser, { script: true, width: 360, dark });
      const page = await context.newPage();
      const look = async (what: string) => {
        assert.deepEqual(await accessibilityFaults(page), [], what);
        const width = await page.evaluate('document.documentElement.scrollWidth');
        assert.ok(Number(width) <= 360, `${what} is ${width} pixels wide`);
      };
      await open(page, 'long');
      await look('sign-in');
      await proven(page);
      await look('consent');
      await open(page, 'native', { prompt: 'consent' });
      await look('consent with a warning');
      await page.click('button[value=deny]');
      await open(page, 'canary');
      await look('consent for a canary');
      assert.equal(await page.locator('main img').count(), 0);
      await page.goto(`${castellan.url}/device`);
      await look('device');
      await page.fill('#user_code', 'BCDF-GHJK');
      await page.click('main button');
      await look('unknown device');
      await page.goto(`${castellan.url}/consent/none`);
      await look('a request that is over');
      await page.goto(`${castellan.url}/account`);
      await look('account');
      await context.close();
    }
  });
});
