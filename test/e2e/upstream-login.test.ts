import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { eventually } from '../support/processes.ts';
import {
  type CliResult,
  runCli,
  startCastellan,
  startCli,
  type TestCastellan,
} from '../support/running-castellan.ts';
import { Vendor } from '../support/vendor.ts';

let castellan: TestCastellan;
let vendor: Vendor;
let name = '';
let serial = 0;
/** All that anybody was shown or told. */
const seen: string[] = [];

before(async () => {
  castellan = await startCastellan([]);
  vendor = await Vendor.start();
});
after(async () => {
  await castellan[Symbol.asyncDispose]();
  await vendor[Symbol.asyncDispose]();
});
beforeEach(async () => {
  serial += 1;
  name = `vendor-${serial}`;
  vendor.lie = undefined;
  vendor.metadata = () => {};
  vendor.lifeSeconds = 3_600;
  await apply({ type: 'oauth' });
});

async function cli(args: string[], input = ''): Promise<CliResult> {
  const result = await runCli([...args, '--data-dir', castellan.dataDir], { input });
  seen.push(result.stdout, result.stderr);
  return result;
}
async function passes(args: string[], input = ''): Promise<CliResult> {
  const result = await cli(args, input);
  assert.equal(result.code, 0, `${args.join(' ')}: ${result.stdout}${result.stderr}`);
  return result;
}
async function fails(args: string[], code: number, said: RegExp): Promise<CliResult> {
  const result = await cli(args);
  assert.match(result.stderr, said);
  assert.equal(result.code, code);
  return result;
}
async function apply(auth: object, url = vendor.url): Promise<void> {
  const server = { kind: 'Server', metadata: { name }, spec: { url, auth } };
  const project = { kind: 'Project', metadata: { name }, spec: { servers: [name] } };
  await passes(['apply', '-f', '-'], JSON.stringify([server, project]));
}

/** Begins to sign in by hand, and answers where the browser has to go. */
async function begun(): Promise<string> {
  const { stderr } = await fails(['mcp', 'login', name, '--paste'], 1, /the sign-in waits/);
  const [address] = /^ {2}(http\S+)$/m.exec(stderr)?.slice(1) ?? [];
  assert.ok(address, stderr);
  return address;
}

async function signIn(): Promise<void> {
  const back = await vendor.visit(await begun());
  const { stdout } = await passes(['mcp', 'login', name, `--paste=${back}`]);
  assert.match(stdout, /is signed in; its next call connects/);
}

const state = async () => {
  const { stdout } = await passes(['mcp', 'status', '-o', 'json']);
  const { items } = JSON.parse(stdout) as { items: { name: string; state: string; login?: object }[] };
  return items.find((one) => one.name === name);
};
const call = () => cli(['call', `${name}__echo`, '{}', '-p', name]);

describe('signing in for a server', () => {
  test('by hand: nobody is, somebody begins, another terminal finishes, and calls go through', async () => {
    await fails(['mcp', 'connect', name], 69, /nobody has signed in.*castellan mcp login vendor-1/);
    assert.equal((await state())?.state, 'needs_auth');
    const back = await vendor.visit(await begun());
    assert.match(back, /\/oauth\/callback\/vendor-1\?code=/);
    const status = await passes(['mcp', 'status']);
    assert.match(status.stderr, /a sign-in for vendor-1 waits until .*castellan mcp login vendor-1 --resume/);
    const page = await fetch(back);
    assert.match(await page.text(), /paste it where castellan mcp login waits/);
    await passes(['mcp', 'login', name, '--resume'], `${back}\n`);
    assert.deepEqual([(await state())?.state, (await state())?.login], ['disconnected', undefined]);
    const called = await call();
    assert.equal(called.code, 0, called.stderr);
    assert.match(called.stdout, /done/);
    assert.equal((await state())?.state, 'connected');
  });

  test('by a device, at the pace of the vendor', async () => {
    const child = cli(['mcp', 'login', name, '--device']);
    let answer = await api('GET', `servers/${name}/login`);
    await eventually('a sign-in is under way', async () => {
      if (answer.status === 200) return true;
      await answer.text();
      answer = await api('GET', `servers/${name}/login`);
      return answer.status === 200;
    });
    const { userCode, flow } = (await answer.json()) as { userCode: string; flow: string };
    assert.equal(flow, 'device');
    seen.push(await commandLines());
    await vendor.agree(userCode);
    const result = await child;
    assert.equal(result.code, 0, result.stderr);
    assert.ok(result.stderr.includes(userCode));
    assert.equal((await call()).code, 0);
  });

  test('by a browser on this machine, two at once, and each by its own answer', async () => {
    const logins = [1, 2].map(() =>
      startCli(['mcp', 'login', name, '--browser', '--data-dir', castellan.dataDir]),
    );
    const addresses = await Promise.all(
      logins.map(async (login) => {
        await eventually('a page to open', () => /^ {2}http\S+$/m.test(login.stderr()), 20_000);
        return /^ {2}(http\S+)$/m.exec(login.stderr())?.[1] ?? '';
      }),
    );
    const [first = '', second = ''] = await Promise.all(addresses.map((address) => vendor.visit(address)));
    assert.match(first, /^http:\/\/127\.0\.0\.1:\d+\/callback\?/);
    seen.push(await commandLines());
    const lie = new URL(first);
    lie.search = new URL(second).search;
    assert.equal((await fetch(lie)).status, 404);
    for (const back of [first, second]) {
      const page = await fetch(back);
      assert.match(await page.text(), /You are signed in/);
    }
    for (const { ended } of logins) {
      const { code, stdout, stderr } = await ended;
      seen.push(stdout, stderr);
      assert.equal(code, 0, stderr);
    }
    assert.equal((await call()).code, 0);
    await fails(
      ['mcp', 'login', name, '--browser', '--device'],
      64,
      /--device and --browser are different ways/,
    );
    const wish = { flow: 'browser', redirectUri: 'https://elsewhere.example/' };
    const refused = await api('POST', `servers/${name}/login`, wish);
    assert.equal(refused.status, 400);
    assert.match(await refused.text(), /redirectUri: must be http:\/\/127\.0\.0\.1/);
  });

  test('a sign-out takes the grant back at the vendor, and says when it could not', async () => {
    await signIn();
    const refresh = [...vendor.issued].at(-1) ?? '';
    assert.ok(await vendor.provider.RefreshToken.find(refresh));
    const out = await passes(['mcp', 'logout', name]);
    assert.match(out.stdout, /is signed out, at the vendor too/);
    assert.equal(await vendor.provider.RefreshToken.find(refresh), undefined);
    assert.match((await passes(['mcp', 'logout', name])).stdout, /nobody was signed in/);
    vendor.metadata = (metadata) => Object.assign(metadata, { revocation_endpoint: undefined });
    await signIn();
    const untold = await passes(['mcp', 'logout', name]);
    assert.match(untold.stderr, /the vendor names no way to take a grant back/);
    vendor.metadata = (metadata) =>
      Object.assign(metadata, { revocation_endpoint: `${vendor.origin}/nowhere` });
    await signIn();
    assert.match((await passes(['mcp', 'logout', name])).stderr, /did not take the grant back/);
    assert.equal((await state())?.state, 'disconnected');
  });

  test('a wrong answer changes nothing, and the right one still counts', async () => {
    const back = await vendor.visit(await begun());
    const changed = (change: (url: URL) => void) => {
      const url = new URL(back);
      change(url);
      return `--paste=${url.href}`;
    };
    const code = new URL(back).searchParams.get('code');
    const wrong: [string, RegExp][] = [
      [`--paste=${code}`, /not the code alone/],
      [changed((url) => url.searchParams.set('state', 'x')), /answers another sign-in/],
      [changed((url) => url.searchParams.delete('state')), /answers another sign-in/],
      [changed((url) => url.searchParams.append('state', 'x')), /has state twice/],
      [changed((url) => url.searchParams.set('iss', `${vendor.origin}/`)), /another issuer/],
      [changed((url) => url.searchParams.delete('iss')), /does not name its issuer/],
      [changed((url) => url.searchParams.delete('code')), /has no code/],
      [changed((url) => (url.pathname = '/elsewhere')), /is not where the browser comes back to/],
    ];
    const exchanges = vendor.exchanges.length;
    for (const [paste, said] of wrong) await fails(['mcp', 'login', name, paste], 1, said);
    assert.equal(vendor.exchanges.length, exchanges);
    await passes(['mcp', 'login', name, `--paste=${back}`]);
    await fails(['mcp', 'login', name, `--paste=${back}`], 1, /no sign-in of vendor-\d+ is under way/);
  });

  test('a refusal of the vendor ends it, and says no word of the vendor', async () => {
    const address = new URL(await begun());
    const back = new URL(address.searchParams.get('redirect_uri') ?? '');
    back.searchParams.set('state', address.searchParams.get('state') ?? '');
    back.searchParams.set('error', 'access_denied');
    back.searchParams.set('error_description', 'call-this-number');
    back.searchParams.set('iss', vendor.origin);
    const { stderr } = await fails(
      ['mcp', 'login', name, `--paste=${back.href}`],
      1,
      /refused the sign-in \(access_denied\)/,
    );
    assert.doesNotMatch(stderr, /call-this-number/);
    await fails(['mcp', 'login', name, '--resume'], 1, /no sign-in of vendor-\d+ is under way/);
    await fails(
      ['mcp', 'login', name, '--device', '--paste'],
      64,
      /--device and --paste are different ways: choose one/,
    );
  });

  test('an answer counts for no other address of the server', async () => {
    const back = await vendor.visit(await begun());
    const exchanges = vendor.exchanges.length;
    await apply({ type: 'oauth' }, `${vendor.url}?other`);
    await fails(['mcp', 'login', name, `--paste=${back}`], 1, /has another url than when this began/);
    assert.equal(vendor.exchanges.length, exchanges);
  });

  test('several may be under way, each is finished by its own answer, and once', async () => {
    const first = await vendor.visit(await begun());
    const second = await vendor.visit(await begun());
    await passes(['mcp', 'login', name, `--paste=${first}`]);
    await fails(['mcp', 'login', name, `--paste=${first}`], 1, /answers another sign-in/);
    await passes(['mcp', 'login', name, `--paste=${second}`]);
    assert.equal((await call()).code, 0);
  });

  test('is asked for again after a sign-out, after another url, and when the vendor ends it', async () => {
    await signIn();
    assert.equal((await call()).code, 0);
    await passes(['mcp', 'logout', name]);
    const { stdout } = await call();
    assert.match(stdout, /UPSTREAM_NEEDS_LOGIN|needs somebody to sign in/);
    await signIn();
    await apply({ type: 'oauth', resource: `${vendor.origin}/other` });
    await fails(['mcp', 'connect', name], 69, /auth\.resource was changed/);
    await apply({ type: 'oauth' });
    assert.equal((await call()).code, 0);
    const kept = vendor.presented.at(-1) ?? '';
    await (await vendor.provider.AccessToken.find(kept))?.destroy();
    vendor.lie = (_form, res) => {
      res.writeHead(400, { 'content-type': 'application/json' }).end('{"error":"invalid_grant"}');
      return true;
    };
    const listed = await passes(['get', 'tools', '-p', name]);
    assert.match(listed.stdout, /echo/);
    const after = await call();
    assert.match(`${after.stdout}${after.stderr}`, /needs somebody to sign in|refused our credential/);
    assert.match((await passes(['get', 'tools', '-p', name])).stdout, /echo/);
    assert.equal((await state())?.state, 'needs_auth');
  });

  test('renews a token that is about to end, and goes on with the same grant', async () => {
    vendor.lifeSeconds = 2;
    await signIn();
    const before = vendor.refreshes;
    const isRenewed = async () => {
      const { code, stderr } = await call();
      assert.equal(code, 0, stderr);
      return vendor.refreshes > before;
    };
    await eventually('the token is renewed', isRenewed, 20_000);
  });
});

describe('what a vendor says of itself', () => {
  const bad = ['javascript:alert(1)', 'file:///etc/passwd', 'https://x/$(id)', '--flag', 'https://x/&calc'];
  for (const endpoint of bad)
    test(`${endpoint} is no address that anybody is sent to`, async () => {
      vendor.metadata = (metadata) => Object.assign(metadata, { authorization_endpoint: endpoint });
      const { stderr } = await fails(
        ['mcp', 'login', name],
        1,
        /authorization_endpoint, what nobody is sent to/,
      );
      assert.ok(!stderr.includes(endpoint), stderr);
    });

  test('has to be true, complete and on an origin that is allowed', async () => {
    const lies: [Record<string, unknown>, RegExp][] = [
      [{ issuer: `${vendor.origin}/` }, /gives itself another name/],
      [
        { code_challenge_methods_supported: undefined, device_authorization_endpoint: undefined },
        /PKCE with S256/,
      ],
      [
        { token_endpoint: 'https://elsewhere.example/token' },
        /discovery: true, discoveryAllowlist: \[https:\/\/elsewhere\.example\]/,
      ],
      [
        { registration_endpoint: undefined },
        /register Castellan there with the redirect URI http:.*\/oauth\/callback\/vendor-\d+, and set clientId/,
      ],
    ];
    for (const [lie, said] of lies) {
      vendor.metadata = (metadata) => Object.assign(metadata, lie);
      await fails(['mcp', 'login', name], 1, said);
    }
  });
});

describe('provider: custom', () => {
  test('says exactly what is missing', async () => {
    const auth = { type: 'oauth', provider: 'custom', clientId: 'c' };
    const tokenEndpoint = `${vendor.origin}/token`;
    const rejected = async (more: object, said: RegExp) => {
      const spec = { url: vendor.url, auth: { ...auth, ...more } };
      const result = await cli(
        ['apply', '-f', '-'],
        JSON.stringify({ kind: 'Server', metadata: { name }, spec }),
      );
      assert.match(result.stderr, said);
    };
    await rejected({}, /spec\.auth\.tokenEndpoint: is missing/);
    await rejected({ tokenEndpoint }, /spec\.auth\.authorizationEndpoint: is missing/);
    await rejected({ provider: undefined, tokenEndpoint }, /counts only with provider: custom/);
    await rejected({ discovery: true }, /add discoveryAllowlist/);
    await rejected({ discoveryAllowlist: ['https://a.example'] }, /add discovery: true/);
    const device = `${vendor.origin}/device/auth`;
    await apply({ ...auth, tokenEndpoint, deviceAuthorizationEndpoint: device });
    await fails(['mcp', 'login', name, '--paste'], 1, /device endpoint present: use --device/);
    await apply({ ...auth, tokenEndpoint, authorizationEndpoint: `${vendor.origin}/auth` });
    await fails(
      ['mcp', 'login', name, '--device'],
      1,
      /set auth\.deviceAuthorizationEndpoint, or use --paste/,
    );
  });
});

/** What every process of this machine was started with, as anybody may read it. */
async function commandLines(): Promise<string> {
  const pids = (await readdir('/proc')).filter((one) => /^\d+$/.test(one));
  const lines = pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => ''));
  return (await Promise.all(lines)).join('\n');
}

async function api(method: string, to: string, body?: object): Promise<Response> {
  const { url, credential } = JSON.parse(
    await readFile(path.join(castellan.dataDir, 'admin.json'), 'utf8'),
  ) as {
    url: string;
    credential: string;
  };
  const response = await fetch(`${url}/api/v1/${to}`, {
    method,
    headers: { authorization: `Bearer ${credential}`, 'content-type': 'application/json' },
    ...(body && { body: JSON.stringify(body) }),
  });
  return response;
}

test('nothing that was issued is in a log, the audit, an answer or an error', async () => {
  assert.ok(vendor.issued.size > 10);
  const audit = await passes(['audit', 'query', '-o', 'json']);
  assert.match(audit.stdout, /login\.completed/);
  for (const args of [
    ['mcp', 'list', '--resolve'],
    ['mcp', 'doctor'],
    ['describe', 'server', name],
  ])
    await cli(args);
  seen.push(await (await fetch(`${castellan.url}/metrics`)).text());
  for (const to of [
    'servers',
    'mcp/servers',
    'mcp/servers?resolve=true',
    'mcp/status',
    `servers/${name}/login`,
  ])
    seen.push(await (await api('GET', to)).text());
  seen.push(castellan.stderr());
  const all = seen.join('\n');
  for (const secret of vendor.issued) assert.ok(!all.includes(secret), 'a secret was shown');
});
