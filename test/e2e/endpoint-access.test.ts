import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Agent } from '../support/agent.ts';
import { EndpointRig, echo, LIST } from '../support/endpoint-rig.ts';

let rig: EndpointRig;

before(async () => {
  rig = await EndpointRig.start();
});
after(async () => {
  await rig[Symbol.asyncDispose]();
});

describe('credentials', () => {
  test('none, a bad one, one with a wrong checksum: 401 with a challenge, before anything is read', async () => {
    const without = await new Agent(rig.agent.url, undefined).send('not even JSON');
    assert.equal(without.status, 401);
    const challenge = without.headers.get('www-authenticate') ?? '';
    assert.match(challenge, /^Bearer /);
    assert.doesNotMatch(challenge, /error/);
    const token = rig.agent.token!;
    const swapped = token.at(-1) === 'a' ? 'b' : 'a';
    const wrong = [
      token.slice(0, -1) + swapped,
      `${token}x`,
      token.slice(0, -1),
      token.toUpperCase(),
      'cst_pat_',
      'x',
    ];
    const bodies = new Set<string>();
    for (const one of wrong) {
      const response = await new Agent(rig.agent.url, one).send(LIST);
      assert.equal(response.status, 401, one);
      assert.match(response.headers.get('www-authenticate') ?? '', /error="invalid_token"/);
      bodies.add(await response.text());
    }
    assert.equal(bodies.size, 1, 'all are answered alike');
  });

  test('a token anywhere but in the header opens nothing and is in no log', async () => {
    const { token, url } = rig.agent;
    const stranger = new Agent(url, undefined);
    const asked = [
      new Agent(`${url}?access_token=${token}`, undefined).send(LIST),
      stranger.send(`access_token=${token}`, {
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      }),
      stranger.send(LIST, { headers: { cookie: `token=${token}; access_token=${token}` } }),
      stranger.send(LIST, {
        headers: { 'x-forwarded-user': 'admin', 'x-user': 'admin', authorization: `Basic ${token}` },
      }),
    ];
    for (const response of await Promise.all(asked)) assert.equal(response.status, 401);
    const inPath = await new Agent(`${rig.castellan.url}/projects/${token}/mcp`, token).send(LIST);
    assert.equal(inPath.status, 403);
    assert.ok(!rig.castellan.stderr().includes(token!.slice(8)));
  });

  test('another project and one that does not exist are refused alike; so is the other surface', async () => {
    const at = (project: string, endpoint = 'mcp') =>
      new Agent(`${rig.castellan.url}/projects/${project}/${endpoint}`, rig.agent.token).send(LIST);
    const refused = await Promise.all([at('q'), at('absent'), at('%2e%2e'), at('p%00'), at('P'), at('%zz')]);
    const texts = await Promise.all(refused.map((one) => one.text()));
    assert.deepEqual(
      refused.map((one) => one.status),
      [403, 403, 403, 403, 403, 403],
    );
    assert.equal(new Set(texts).size, 1);
    assert.equal((await at('p', 'operator-mcp')).status, 403);
    assert.equal((await new Agent(`${rig.castellan.url}/mcp`, rig.agent.token).send(LIST)).status, 403);
  });

  test('what upstream servers see carries nothing of ours', async () => {
    await rig.agent.send(echo('x'), {
      headers: { cookie: 'a=b', 'x-api-key': 'k', 'x-forwarded-for': '1.2.3.4' },
    });
    for (const { headers, body, url } of [...rig.legacy.requests, ...rig.modern.requests]) {
      const seen = JSON.stringify(headers) + body + url;
      assert.ok(!seen.includes('cst_'));
      for (const name of ['cookie', 'authorization', 'x-api-key', 'x-forwarded-for', 'mcp-session-id']) {
        assert.equal(headers[name], undefined, name);
      }
    }
  });
});

describe('who may speak to it', () => {
  test('a foreign Origin is refused on every route, before parsing; ours and none are taken', async () => {
    const { port, host } = new URL(rig.castellan.url);
    const evil = [
      'http://evil.example',
      'null',
      'http://localhost.evil.com',
      `http://127.0.0.1.nip.io:${port}`,
      `http://localhost:${Number(port) + 1}`,
      `https://localhost:${port}`,
      `HTTP://LOCALHOST:${port}`,
      `http://localhost:${port}/`,
      `http://localhost:${port}, http://localhost:${port}`,
      '',
    ];
    for (const origin of evil) {
      const response = await rig.rawPost(
        [`host: ${host}`, rig.authorization(), `origin: ${origin}`],
        '{"not json',
      );
      assert.equal(response.status, 403, `origin ${origin}`);
      assert.doesNotMatch(response.text, /access-control-allow/i);
    }
    for (const route of ['/', '/healthz', '/metrics', '/api/v1/version', '/operator-mcp', '/nowhere']) {
      const response = await fetch(rig.castellan.url + route, { headers: { origin: 'http://evil.example' } });
      assert.equal(response.status, 403, route);
    }
    for (const name of ['localhost', '127.0.0.1', '[::1]']) {
      const own = await rig.agent.send(LIST, { headers: { origin: `http://${name}:${port}` } });
      assert.equal(own.status, 200, name);
    }
    const preflight = await fetch(rig.agent.url, {
      method: 'OPTIONS',
      headers: { origin: `http://localhost:${port}` },
    });
    assert.equal(preflight.headers.get('access-control-allow-origin'), null);
    assert.notEqual(preflight.status, 200);
  });

  test('a Host that is no loopback name, none, two, and a target in absolute form are refused', async () => {
    const { port, host } = new URL(rig.castellan.url);
    const body = JSON.stringify(echo('host'));
    const before = rig.forwarded();
    const heads = [
      ['host: evil.example'],
      [`host: localhost.evil.example:${port}`],
      [`host: 127.0.0.1.nip.io:${port}`],
      ['host:'],
      [],
      [`host: ${host}`, 'host: evil.example'],
      ['host: evil.example', `host: ${host}`],
      [`host: user@${host}`],
      [`host: ${host}, evil.example`],
      ['host: 0x7f000001'],
    ];
    for (const head of heads) {
      const response = await rig.rawPost([...head, rig.authorization()], body);
      assert.ok([400, 403, 421].includes(response.status), `${JSON.stringify(head)}: ${response.status}`);
    }
    for (const target of [`http://evil.example/projects/p/mcp`, `${rig.castellan.url}/projects/p/mcp`, '*']) {
      const response = await rig.rawPost([`host: ${host}`, rig.authorization()], body, target);
      assert.ok([400, 403, 421].includes(response.status), `${target}: ${response.status}`);
    }
    assert.equal(rig.forwarded(), before);
    const accepted = await rig.rawPost([`host: LocalHost:${port}`, rig.authorization()], body);
    assert.equal(accepted.status, 200);
  });

  test('forwarding headers of a stranger change no link', async () => {
    const headers = {
      'x-forwarded-host': 'evil.example',
      forwarded: 'host=evil.example',
      'x-forwarded-proto': 'https',
    };
    const page = await (await fetch(rig.castellan.url, { headers })).text();
    assert.ok(page.includes(`${rig.castellan.url}/projects/PROJECT/mcp`));
    assert.ok(!page.includes('evil'));
    const metrics = await fetch(`${rig.castellan.url}/metrics`, {
      headers: { 'x-forwarded-for': '127.0.0.1' },
    });
    assert.equal(metrics.status, 403);
  });
});
