import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { PageClient } from '../support/page-client.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const ALICE = 'alice@example.com';
const PASSWORD = 'correct horse battery';
const ANOTHER = 'wrong zebra accumulator';

let castellan: TestCastellan;
before(async () => {
  castellan = await startCastellan([]);
});
after(() => castellan[Symbol.asyncDispose]());

/** Another address each, as throttles count by it. */
let serial = 1;
const visitor = () => {
  serial += 1;
  return new PageClient(castellan.url, `127.0.7.${serial}`);
};

async function invited(email: string, password = PASSWORD): Promise<PageClient> {
  const { code, stdout, stderr } = await castellan.cli('create', 'user', email, '--invite');
  assert.equal(code, 0, stderr);
  return enrolled(stdout.trim(), password);
}

async function enrolled(link: string, password = PASSWORD): Promise<PageClient> {
  const client = visitor();
  const { pathname } = new URL(link);
  assert.equal((await client.get(pathname)).status, 200);
  const answer = await client.post(pathname, { password, repeated: password });
  assert.equal(answer.status, 303, answer.body);
  return client;
}

describe('the first start', () => {
  it('prints the link that sets the console password, once', async () => {
    await using fresh = await startCastellan([]);
    const link = /^ {4}(http:\S+\/invite\/cst_inv_\w+)$/m.exec(fresh.stderr())?.[1];
    assert.ok(link, fresh.stderr());
    await fresh.stop();
    await using again = await startCastellan([], { dataDir: fresh.dataDir });
    assert.doesNotMatch(again.stderr(), /cst_inv/);
    const { stdout } = await again.cli('rotate', 'user', 'admin');
    const client = new PageClient(again.url);
    assert.equal((await client.get(new URL(link).pathname)).status, 404, 'the new link replaced the old one');
    await client.get(new URL(stdout.trim()).pathname);
    const set = await client.post(new URL(stdout.trim()).pathname, {
      password: PASSWORD,
      repeated: PASSWORD,
    });
    assert.equal(set.headers.location, '/account?done=password');
    assert.match((await client.get('/account')).body, /<strong>admin<\/strong>/);
  });

  it('prints none where passwords would cross a network in the clear, and shows no form', async () => {
    await using open = await startCastellan(['--host', '0.0.0.0', '--insecure-http']);
    assert.doesNotMatch(open.stderr(), /cst_inv/);
    const client = new PageClient(open.url.replace('localhost', '127.0.0.1'));
    for (const at of ['/sign-in', '/account', '/sign-out', '/invite/x']) {
      const { status, body } = await client.get(at);
      assert.equal(status, 403, at);
      assert.doesNotMatch(body, /<form/);
    }
    const { code, stderr } = await open.cli('rotate', 'user', 'admin');
    assert.equal(code, 1);
    assert.match(stderr, /https --public-url/);
  });
});

describe('an invitation', () => {
  it('is the only thing on stdout, sets a password once, and is not used up by looking at it', async () => {
    const { stdout } = await castellan.cli('create', 'user', 'bob@example.com', '--invite');
    assert.match(stdout, /^http:\/\/127\.0\.0\.1:\d+\/invite\/cst_inv_\w{49}\n$/);
    const { pathname } = new URL(stdout.trim());
    const bot = visitor();
    for (const method of ['GET', 'HEAD'])
      assert.equal((await bot.send(method, pathname, undefined)).status, 200);
    const client = await enrolled(stdout.trim());
    assert.match((await client.get('/account')).body, /bob@example\.com/);
    assert.equal((await bot.get(pathname)).status, 404);
    const { stdout: trail } = await castellan.cli('audit', 'query', '-o', 'json');
    for (const event of ['password.link', 'password.set', 'browser.signed_in'])
      assert.ok(trail.includes(event), event);
    assert.ok(!`${trail}${castellan.stderr()}`.includes(pathname.slice(-20)), 'the link is in no log');
  });

  it('says what is wrong with a password, without using itself up', async () => {
    const { stdout } = await castellan.cli('create', 'user', 'carol@example.com', '--invite');
    const { pathname } = new URL(stdout.trim());
    const client = visitor();
    await client.get(pathname);
    const short = await client.post(pathname, { password: 'short', repeated: 'short' });
    assert.equal(short.status, 400);
    assert.match(short.body, /role="alert"[^>]*>The new password is too short/);
    assert.match((await client.post(pathname, { password: PASSWORD, repeated: 'x' })).body, /differ/);
    assert.equal((await client.post(pathname, { password: PASSWORD, repeated: PASSWORD })).status, 303);
  });

  it('is not made as somebody else', async () => {
    await castellan.cli('create', 'user', 'dora@example.com');
    const { code, stderr } = await castellan.cli('rotate', 'user', 'dora@example.com', '--as', 'User:admin');
    assert.equal(code, 77);
    assert.match(stderr, /in person/);
    const flags = await castellan.cli('create', 'user', 'eve@example.com', '--invite', '--disabled');
    assert.equal(flags.code, 64);
  });
});

describe('signing in', () => {
  before(() => invited(ALICE));

  it('opens the account, goes on to a path of ours alone, and answers with 303', async () => {
    for (const [next, to] of [
      ['/account?x=1', '/account?x=1'],
      ['//evil.example', '/account'],
      ['https://evil.example/', '/account'],
      ['/\\evil.example', '/account'],
      ['/a\r\nx: y', '/account'],
    ] as const) {
      const client = visitor();
      await client.get(`/sign-in?next=${encodeURIComponent(next)}`);
      const { status, headers } = await client.post('/sign-in', {
        email: ` ${ALICE.toUpperCase()} `,
        password: PASSWORD,
      });
      assert.deepEqual([status, headers.location], [303, to], next);
      assert.match((await client.get('/account')).body, new RegExp(ALICE));
    }
  });

  it('T148: has a cookie that scripts cannot read, another one with each sign-in', async () => {
    const client = visitor();
    const first = await client.signIn(ALICE, PASSWORD);
    const set = (first.headers['set-cookie'] ?? []).find((line) => line.startsWith('castellan-session='));
    assert.match(
      set ?? '',
      /^castellan-session=cst_ses_[^;]+; Max-Age=604800; Path=\/; HttpOnly; SameSite=Lax$/,
    );
    const before = client.cookies.get('castellan-session');
    await client.get('/sign-in?again=1');
    await client.get('/account');
    await client.send('GET', '/sign-in', undefined);
    const other = new PageClient(castellan.url);
    other.cookies.set('castellan-session', 'planted');
    await other.get('/sign-in');
    await other.post('/sign-in', { email: ALICE, password: PASSWORD });
    assert.notEqual(other.cookies.get('castellan-session'), 'planted');
    assert.notEqual(other.cookies.get('castellan-session'), before);
  });

  it('T148: begins with __Host- over https', async () => {
    await using behind = await startCastellan(['--public-url', 'https://mcp.example.com']);
    const client = new PageClient(String((await adminFile(behind)).url));
    const { headers } = await client.get('/sign-in', { host: 'mcp.example.com' });
    assert.match(
      String(headers['set-cookie']),
      /^__Host-castellan-visit=[^;]+; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
    );
  });

  it('T148: ends with signing out, and the cookie opens nothing after it', async () => {
    const client = visitor();
    await client.signIn(ALICE, PASSWORD);
    const cookie = client.cookies.get('castellan-session')!;
    await client.get('/sign-out');
    assert.match((await client.get('/account')).body, new RegExp(ALICE), 'a look signs nobody out');
    assert.equal((await client.post('/sign-out', {})).headers.location, '/sign-in');
    assert.equal(client.cookies.has('castellan-session'), false);
    const replayed = visitor();
    replayed.cookies.set('castellan-session', cookie);
    const { status, body } = await replayed.get('/account');
    assert.equal(status, 401);
    assert.match(body, /Your session has ended/);
  });

  it('T148: changes the cookie when the rights of the person change', async () => {
    const client = await invited('role@example.com');
    const before = client.cookies.get('castellan-session')!;
    await castellan.cli(
      'create',
      'rbac',
      'role',
      '--subject',
      'User:role@example.com',
      '--roleBindings',
      'action:logs',
    );
    assert.equal((await client.get('/account')).status, 200);
    assert.notEqual(client.cookies.get('castellan-session'), before);
    const stale = visitor();
    stale.cookies.set('castellan-session', before);
    assert.equal((await stale.get('/account')).status, 401);
    assert.equal((await client.get('/account')).status, 200);
  });

  it('T149: tells a wrong password and an unknown user alike', async () => {
    const [wrong, unknown] = [
      await visitor().signIn(ALICE, 'nope'),
      await visitor().signIn('who@example.com', 'nope'),
    ];
    assert.equal(wrong.status, 401);
    const text = (body: string) => body.replaceAll(/value="[^"]*"/g, '');
    assert.equal(text(wrong.body), text(unknown.body));
    assert.deepEqual(Object.keys(wrong.headers), Object.keys(unknown.headers));
  });

  it('T149: takes as long for an unknown user', async () => {
    const took = { [ALICE]: [] as number[], 'who2@example.com': [] as number[] };
    for (let round = 0; round < 5; round += 1) {
      for (const [email, times] of Object.entries(took)) {
        const client = visitor();
        await client.get('/sign-in');
        const from = performance.now();
        assert.equal((await client.post('/sign-in', { email, password: `nope ${round}` })).status, 401);
        times.push(performance.now() - from);
      }
    }
    const [one = 0, other = 0] = Object.values(took).map((times) => Math.min(...times));
    // Without a hash to compute, one would be some fifty times faster.
    assert.ok(Math.max(one, other) < 4 * Math.min(one, other), `${one} and ${other} ms`);
  });

  it('T149: slows a guesser down without keeping the administrator out', async () => {
    const link = /http:\S+\/invite\/\S+/.exec(castellan.stderr())![0];
    const own = await enrolled(link, ANOTHER);
    const statuses = new Map<number, number>();
    for (let index = 0; index < 1_000; index += 1) {
      const guesser = new PageClient(castellan.url, `127.0.8.${1 + (index % 250)}`);
      if (index === 0 || index > 990) await guesser.get('/sign-in');
      const { status } = await guesser.signIn('admin', `guess number ${index}`);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
    assert.deepEqual([...statuses.keys()].sort(), [401, 429]);
    assert.ok(statuses.get(401)! <= 11, String(statuses.get(401)));
    await own.get('/sign-out');
    await own.post('/sign-out', {});
    assert.equal((await own.signIn('admin', ANOTHER)).status, 303, 'their own browser');
    const { stdout } = await castellan.cli('rotate', 'user', 'admin');
    await enrolled(stdout.trim(), PASSWORD);
    const refused = await visitor().signIn('admin', PASSWORD);
    assert.equal(refused.status, 429);
    assert.ok(Number(refused.headers['retry-after']) > 0);
  });

  it('T149: finds a password of a megabyte too large before it looks at it', async () => {
    const client = visitor();
    await client.get('/sign-in');
    const from = performance.now();
    assert.equal(
      (await client.post('/sign-in', { email: ALICE, password: 'x'.repeat(1_000_000) })).status,
      413,
    );
    assert.ok(performance.now() - from < 2_000);
  });
});

describe('the account page', () => {
  it('changes the password, and ends the other sessions with it', async () => {
    const client = await invited('frank@example.com');
    const other = visitor();
    await other.signIn('frank@example.com', PASSWORD);
    await client.get('/account');
    const wrong = await client.post('/account/password', {
      current: 'no',
      password: ANOTHER,
      repeated: ANOTHER,
    });
    assert.equal(wrong.status, 400);
    assert.match(wrong.body, /password that you have now is another one/);
    const set = await client.post('/account/password', {
      current: PASSWORD,
      password: ANOTHER,
      repeated: ANOTHER,
    });
    assert.equal(set.headers.location, '/account?done=password', set.body);
    assert.equal((await client.get('/account')).status, 200);
    assert.equal((await other.get('/account')).status, 401);
    assert.equal((await visitor().signIn('frank@example.com', PASSWORD)).status, 401);
    assert.equal((await visitor().signIn('frank@example.com', ANOTHER)).status, 303);
  });

  it('shows sessions and ends them, one’s own alone', async () => {
    const client = await invited('grace@example.com');
    const other = visitor();
    await other.signIn('grace@example.com', PASSWORD);
    const stranger = await invited('heidi@example.com');
    const id = /sessions\/(bse_\w+)\/end/.exec((await client.get('/account')).body)?.[1];
    assert.ok(id);
    await stranger.get('/account');
    await stranger.post(`/account/sessions/${id}/end`, {});
    assert.equal((await other.get('/account')).status, 200, 'it is not hers');
    assert.equal((await client.post(`/account/sessions/${id}/end`, {})).status, 303);
    assert.equal((await other.get('/account')).status, 401);
    const { code } = await castellan.cli('delete', 'user', 'grace@example.com');
    assert.equal(code, 0);
    assert.equal((await client.get('/account')).status, 401);
  });
});

const PAGES = [
  '/',
  '/nowhere',
  '/sign-in',
  '/sign-out',
  '/account',
  '/invite/x',
  '/sign-in/none',
  '/account/none',
];

describe('every page', () => {
  it('T146: allows no script, no frame and no referrer, whatever it answers', async () => {
    const signedIn = await invited('ivan@example.com');
    for (const client of [visitor(), signedIn]) {
      for (const at of PAGES) {
        for (const answer of [
          await client.get(at),
          await client.send('POST', at, 'x'),
          await client.send('PUT', at, 'x'),
        ]) {
          const { headers } = answer;
          const policy = String(headers['content-security-policy']);
          assert.match(policy, /default-src 'none'.*base-uri 'none'.*frame-ancestors 'none'/, at);
          assert.doesNotMatch(policy, /unsafe|script-src/);
          assert.equal(headers['x-content-type-options'], 'nosniff');
          assert.equal(headers['referrer-policy'], 'no-referrer');
          assert.equal(headers['cache-control'], 'no-store');
          assert.doesNotMatch(answer.body, /<script|javascript:|style=/);
        }
      }
    }
  });

  it('T146: what pages are made of is no page', async () => {
    for (const [at, type] of [
      ['/style.css', 'text/css; charset=utf-8'],
      ['/icon.svg', 'image/svg+xml'],
      ['/healthz', 'text/plain; charset=UTF-8'],
    ] as const) {
      const { status, headers } = await visitor().get(at);
      assert.deepEqual(
        [status, headers['content-type'], headers['x-content-type-options']],
        [200, type, 'nosniff'],
      );
      assert.match(String(headers['content-security-policy']), /default-src 'none'/);
    }
  });

  it('T147: takes forms that it showed to this browser, and nothing else', async () => {
    const email = 'judy@example.com';
    const client = await invited(email);
    const own = (await client.get('/account')).body;
    const token = /name="form" value="(\w+)"/.exec(own)![1]!;
    const foreign = /name="form" value="(\w+)"/.exec((await visitor().get('/sign-in')).body)![1]!;
    const paths = ['/sign-in', '/sign-out', '/account/password', '/account/sessions/bse_x/end', '/invite/x'];
    const type = { 'content-type': 'application/x-www-form-urlencoded' };
    for (const at of paths) {
      const without = await client.send('POST', at, '', type);
      assert.equal(without.status, 403, at);
      assert.equal((await client.send('POST', at, `form=${foreign}`, type)).status, 403, at);
      const json = await client.send('POST', at, JSON.stringify({ form: token }), {
        'content-type': 'text/plain',
      });
      assert.equal(json.status, 415, at);
      for (const origin of ['https://evil.example', 'null']) {
        const cross = { ...type, origin, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' };
        assert.equal((await client.send('POST', at, `form=${token}`, cross)).status, 403, at);
      }
    }
    // A page from before signing in is of no use after it.
    const before = visitor();
    await before.get('/sign-in');
    const visit = /name="form" value="(\w+)"/.exec((await before.get('/sign-in')).body)![1]!;
    await before.post('/sign-in', { email, password: PASSWORD });
    assert.equal((await before.send('POST', '/sign-out', `form=${visit}`, type)).status, 403);
    // Somebody else's page cannot sign this browser in.
    const attacker = visitor();
    const theirs = /name="form" value="(\w+)"/.exec((await attacker.get('/sign-in')).body)![1]!;
    const victim = visitor();
    await victim.get('/sign-in');
    const fields = new URLSearchParams({ form: theirs, email, password: PASSWORD });
    assert.equal((await victim.send('POST', '/sign-in', String(fields), type)).status, 403);
    assert.equal((await client.get('/account')).status, 200, 'nobody was signed out');
  });

  it('T147: lets a page without an origin speak to pages alone', async () => {
    const vouched = { origin: 'null', 'sec-fetch-site': 'same-origin', 'sec-fetch-mode': 'navigate' };
    for (const at of ['/mcp', '/api/v1/version'])
      for (const type of ['application/json', 'application/x-www-form-urlencoded']) {
        const { status } = await visitor().send('POST', at, '{}', { ...vouched, 'content-type': type });
        assert.ok([401, 403, 404].includes(status), `${at} ${type}: ${status}`);
      }
    assert.equal((await visitor().send('GET', '/account', undefined, { origin: 'null' })).status, 403);
  });

  it('T145: shows what strangers wrote as text', async () => {
    const canary = '"><img src=x onerror=alert(1)>{{7*7}}javascript:alert(1)';
    const client = visitor();
    await client.get(`/sign-in?next=${encodeURIComponent(canary)}`);
    const { body } = await client.post('/sign-in', { email: canary, password: 'x' });
    assert.match(body, /value="&quot;&gt;&lt;img/);
    assert.doesNotMatch(body, /<img/);
    const marked = await invited('mallory@example.com');
    await marked.signIn('mallory@example.com', PASSWORD);
    await marked.send('GET', '/account', undefined, { 'user-agent': canary });
    assert.doesNotMatch((await marked.get('/account')).body, /<img/);
  });

  it('T1: asks whoever is not signed in to sign in', async () => {
    for (const credential of [
      undefined,
      'Bearer cst_pat_x',
      `Bearer ${(await adminFile(castellan)).credential}`,
    ]) {
      const { status, headers } = await visitor().get(
        '/account',
        credential ? { authorization: credential } : {},
      );
      assert.equal(status, 401, 'a page takes no bearer');
      assert.match(String(headers['www-authenticate']), /^Session /);
    }
  });
});

async function adminFile({ dataDir }: TestCastellan): Promise<Record<string, unknown>> {
  return JSON.parse(await readFile(path.join(dataDir, 'admin.json'), 'utf8'));
}
