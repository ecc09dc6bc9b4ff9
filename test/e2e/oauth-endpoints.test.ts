import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DEVICE_GRANT } from '../../src/oauth/built-in-clients.ts';
import { onEachDatabase } from '../support/databases.ts';
import { OAuthRig, REDIRECT, request, SECRET } from '../support/oauth-rig.ts';

const VERIFIER = 'v'.repeat(43);
const CONFIDENTIAL = { client_id: 'confidential', client_secret: SECRET };

onEachDatabase('endpoints of the authorization server', (make) => {
  const scene = async (play: (rig: OAuthRig) => Promise<void>): Promise<void> => {
    const database = await make();
    try {
      await using rig = await OAuthRig.start(database);
      await rig.prepare();
      await play(rig);
    } finally {
      await database.dispose();
    }
  };
  const errorOf = async (rig: OAuthRig, query: Record<string, string>): Promise<string | null> => {
    const answer = await rig.get(`/authorize?${new URLSearchParams(query)}`);
    const location = answer.headers.get('location');
    if (!location) return null;
    const { searchParams, hash } = new URL(location, rig.base);
    return searchParams.get('error') ?? new URLSearchParams(hash.slice(1)).get('error');
  };

  describe('/authorize', () => {
    it('authorization server checklist 8: an unknown client or redirect gets a page, and no redirect', () =>
      scene(async (rig) => {
        const wrong = [
          { client_id: 'nobody' },
          ...[
            'https://evil.example/callback',
            `${REDIRECT}/more`,
            'http://127.0.0.1:9/callbac',
            'http://127.0.0.1:9/../callback',
            'http://127.0.0.1:9@evil.example/callback',
            'http://localhost.evil.example/callback',
            `${REDIRECT}#fragment`,
            `${REDIRECT}?more=1`,
            'javascript:alert(1)',
          ].map((redirect_uri) => ({ redirect_uri })),
        ];
        for (const change of wrong) {
          const query = { ...request(VERIFIER), resource: rig.resource(), ...change };
          const answer = await rig.get(`/authorize?${new URLSearchParams(query)}`);
          assert.equal(answer.status, 400, JSON.stringify(change));
          assert.equal(answer.headers.get('location'), null, JSON.stringify(change));
        }
        const otherPort = { ...request(VERIFIER), redirect_uri: 'http://127.0.0.1:4711/callback' };
        const back = await rig.authorize({ ...otherPort, resource: rig.resource() });
        assert.equal(back.port, '4711', 'of a loopback redirect the port may vary');
      }));

    it('authorization server checklist 9: a native client has a scheme of its own, and nobody one that runs or reads', () =>
      scene(async (rig) => {
        const query = { ...request(VERIFIER), resource: rig.resource() };
        const native = { client_id: 'native', redirect_uri: 'com.example.app:/callback' };
        const back = await rig.authorize({ ...query, ...native });
        assert.equal(back.protocol, 'com.example.app:');
        assert.ok(back.searchParams.get('code'));
        for (const uri of ['javascript:alert(1)', 'data:text/html,x', 'file:///etc/passwd', 'vbscript:x']) {
          const hostile = { ...query, client_id: uri, redirect_uri: uri };
          const answer = await rig.get(`/authorize?${new URLSearchParams(hostile)}`);
          assert.deepEqual([answer.status, answer.headers.get('location')], [400, null], uri);
        }
      }));

    it('authorization server checklist 10: nobody gets a code without a challenge, or with a plain one', () =>
      scene(async (rig) => {
        const { code_challenge: _, code_challenge_method: __, ...bare } = request(VERIFIER);
        const plain = { code_challenge: VERIFIER, code_challenge_method: 'plain' };
        const wrong: Record<string, string>[] = [
          {},
          plain,
          { code_challenge: VERIFIER },
          { code_challenge_method: 'S256' },
        ];
        for (const pkce of wrong)
          assert.equal(await errorOf(rig, { ...bare, ...pkce }), 'invalid_request', JSON.stringify(pkce));
      }));

    it('authorization server checklist 11: there are no implicit and no password grants', () =>
      scene(async (rig) => {
        for (const response_type of ['token', 'id_token', 'code token', 'none'])
          assert.equal(
            await errorOf(rig, { ...request(VERIFIER), response_type }),
            'unsupported_response_type',
          );
        for (const response_mode of ['form_post', 'fragment', 'web_message']) {
          const query = { ...request(VERIFIER), resource: rig.resource(), response_mode };
          assert.equal(await errorOf(rig, query), 'unsupported_response_mode');
        }
        const password = { grant_type: 'password', username: 'alice@example.com', password: 'x' };
        const { body } = await rig.post('/token', { ...CONFIDENTIAL, ...password });
        assert.equal(body.error, 'unsupported_grant_type');
      }));

    it('authorization server checklist 12: the state comes back as it was, with the issuer once', () =>
      scene(async (rig) => {
        for (const state of ['a+b c%20d', 'ünï©ödé', 's'.repeat(4_096)]) {
          const query = { ...request(VERIFIER), resource: rig.resource(), state };
          for (const back of [
            await rig.authorize(query),
            await rig.authorize(query, { decision: 'deny', user: 'bob@example.com' }),
          ]) {
            assert.equal(back.searchParams.get('state'), state);
            assert.deepEqual(back.searchParams.getAll('iss'), [rig.base]);
          }
        }
        const answer = await rig.get(
          `/authorize?${new URLSearchParams({ ...request(VERIFIER), scope: 'nothing' })}`,
        );
        const failed = new URL(answer.headers.get('location')!);
        assert.deepEqual(failed.searchParams.getAll('iss'), [rig.base]);
        assert.equal(failed.searchParams.get('error'), 'invalid_target');
      }));

    it('authorization server checklist 13: a resource is one of ours, and the audience is what was asked for', () =>
      scene(async (rig) => {
        const wrong = [
          `${rig.base}/projects/nothing/mcp`,
          `${rig.base}/projects/demo/mcp/`,
          `${rig.base}/projects/demo/mcp?x=1`,
          `${rig.base}/projects/demo/mcp#x`,
          `${rig.base}/projects/%64emo/mcp`,
          `${rig.base}/PROJECTS/demo/mcp`,
          `${rig.base}/`,
          'https://evil.example/projects/demo/mcp',
          // Something else on this machine, which names us as its authorization server.
          'http://127.0.0.1:1/projects/demo/mcp',
          'http://localhost/projects/demo/mcp',
          '/projects/demo/mcp',
          'demo',
        ];
        for (const resource of wrong)
          assert.equal(await errorOf(rig, { ...request(VERIFIER), resource }), 'invalid_target', resource);
        const device = { client_id: 'public', resource: 'http://127.0.0.1:1/projects/demo/mcp' };
        assert.equal((await rig.post('/device_authorization', device)).body.error, 'invalid_target');
        const alone = { grant_type: 'client_credentials', ...CONFIDENTIAL, resource: device.resource };
        assert.equal((await rig.post('/token', alone)).body.error, 'invalid_target');
        const byName = rig.resource().replace('127.0.0.1', 'localhost');
        assert.equal(await errorOf(rig, { ...request(VERIFIER), resource: byName }), null, 'by another name');
        const two = new URLSearchParams({ ...request(VERIFIER), resource: rig.resource() });
        two.append('resource', rig.resource('other'));
        const answer = await rig.get(`/authorize?${two}`);
        assert.equal(new URL(answer.headers.get('location')!).searchParams.get('error'), 'invalid_target');

        const operator = await rig.tokens(
          await rig.code({ resource: rig.resource('other', 'operator-'), scope: 'mcp:operator' }),
        );
        const found = await rig.oauth.accessTokens.authenticate(operator.access_token);
        assert.ok(found.ok);
        assert.equal(found.value.project, 'other');
        assert.deepEqual([...found.value.surfaces], ['consumer', 'operator']);
      }));

    it('a client that is bound to a project gets that one, and no other', () =>
      scene(async (rig) => {
        const { resource: _, ...unnamed } = {
          ...request(VERIFIER),
          ...{ client_id: 'confidential' },
        } as Record<string, string>;
        const back = await rig.authorize(unnamed);
        const form = {
          grant_type: 'authorization_code',
          code: back.searchParams.get('code')!,
          redirect_uri: REDIRECT,
        };
        const tokens = await rig.tokens({ ...form, ...CONFIDENTIAL, code_verifier: VERIFIER });
        const found = await rig.oauth.accessTokens.authenticate(tokens.access_token);
        assert.equal(found.ok && found.value.project, 'demo');
        const other = { ...request(VERIFIER), client_id: 'confidential', resource: rig.resource('other') };
        assert.equal(await errorOf(rig, other), 'invalid_target');
      }));

    it('everything that a user may do is for the command line alone', () =>
      scene(async (rig) => {
        const api = { ...request(VERIFIER), resource: `${rig.base}/api/v1`, scope: 'api' };
        assert.equal(await errorOf(rig, api), 'invalid_target');
        const form = await rig.code({ client_id: 'castellan-cli', resource: api.resource, scope: 'api' });
        const found = await rig.oauth.accessTokens.authenticate((await rig.tokens(form)).access_token);
        assert.ok(found.ok);
        assert.deepEqual([found.value.project, [...found.value.surfaces]], ['*', ['consumer', 'operator']]);
      }));

    it('goes on with nobody who has signed out meanwhile', () =>
      scene(async (rig) => {
        const query = new URLSearchParams({ ...request(VERIFIER), resource: rig.resource() });
        await rig.authorize(Object.fromEntries(query));
        const begun = await rig.get(`/authorize?${query}`);
        const page = begun.headers.get('location') ?? '';
        assert.match(page, /^\/sign-in\//);
        const cookie = begun.headers
          .getSetCookie()
          .map((one) => one.split(';')[0])
          .join('; ');
        const alice = { 'x-test-user': 'alice@example.com', cookie };
        const signedIn = await rig.get(page, alice);
        const resumed = signedIn.headers.get('location') ?? '';
        assert.match(resumed, /^\/authorize\//);
        const later = await rig.get(resumed, { cookie });
        assert.match(later.headers.get('location') ?? '', /^\/sign-in\//, 'somebody has to sign in again');
      }));

    it('authorization server checklist 17: a parameter given twice is refused', () =>
      scene(async (rig) => {
        const twice = new URLSearchParams({ ...request(VERIFIER), resource: rig.resource() });
        twice.append('state', 'another');
        const answer = await rig.get(`/authorize?${twice}`);
        assert.match(answer.headers.get('location') ?? (await answer.text()), /invalid_request|twice/);
        const form = new URLSearchParams({ ...CONFIDENTIAL, grant_type: 'client_credentials' });
        form.append('grant_type', 'refresh_token');
        const token = await fetch(`${rig.base}/token`, { method: 'POST', body: form });
        assert.equal(token.status, 400);
      }));

    it('asks again for what was not allowed before, and not for what was', () =>
      scene(async (rig) => {
        const query = { ...request(VERIFIER), resource: rig.resource(), client_id: 'confidential' };
        await rig.authorize(query);
        const remembered = await rig.authorize(query, { decision: 'deny' });
        assert.ok(remembered.searchParams.get('code'), 'nobody was asked');
        const more = { ...query, scope: 'mcp mcp:operator' };
        assert.equal(
          (await rig.authorize(more, { decision: 'deny' })).searchParams.get('error'),
          'access_denied',
        );
        const again = { ...query, prompt: 'consent' };
        assert.equal(
          (await rig.authorize(again, { decision: 'deny' })).searchParams.get('error'),
          'access_denied',
        );
        for (const client_id of ['castellan-cli', 'public']) {
          const local = { ...query, client_id, redirect_uri: 'http://127.0.0.1:9/callback' };
          await rig.authorize(local);
          const claimed = await rig.authorize(local, { decision: 'deny' });
          assert.equal(claimed.searchParams.get('error'), 'access_denied', 'any program can claim to be it');
        }
      }));

    it('asks again when the client leads elsewhere than it did, whoever changed it', () =>
      scene(async (rig) => {
        const put = (...redirectUris: string[]) =>
          rig.identity.resources.put({
            kind: 'OAuthClient',
            metadata: { name: 'app' },
            spec: { redirectUris },
          });
        const [own, foreign] = ['https://app.example/back', 'https://evil.example/back'] as const;
        await put(own);
        const query = { ...request(VERIFIER), resource: rig.resource(), client_id: 'app', redirect_uri: own };
        await rig.authorize(query);
        const deny = { decision: 'deny' };
        assert.ok((await rig.authorize(query, deny)).searchParams.get('code'), 'it is remembered');
        await put(own, foreign);
        const until = Date.now() + 5_000;
        while ((await rig.oauth.grants.list()).length > 0) assert.ok(Date.now() < until, 'it is forgotten');
        const elsewhere = await rig.authorize({ ...query, redirect_uri: foreign }, deny);
        assert.equal(elsewhere.searchParams.get('error'), 'access_denied');
        await rig.authorize(query);
        await put(own);
        assert.ok((await rig.authorize(query, deny)).searchParams.get('code'), 'with fewer it is the same');
      }));

    it('authorization server checklist 16: what a person decides is bound to the browser that asked', () =>
      scene(async (rig) => {
        const query = new URLSearchParams({ ...request(VERIFIER), resource: rig.resource() });
        const begun = await rig.get(`/authorize?${query}`, { 'x-test-user': 'alice@example.com' });
        const page = begun.headers.get('location')!;
        assert.match(page, /^\/consent\//);
        const [cookie] = begun.headers.getSetCookie();
        assert.match(cookie!, new RegExp(`path=${page}; .*httponly`, 'i'));
        const stranger = await rig.get(page, { 'x-test-user': 'alice@example.com' });
        assert.equal(stranger.status, 404, 'another browser finds nothing');
        const cookies = begun.headers
          .getSetCookie()
          .map((one) => one.split(';')[0])
          .join('; ');
        const other = await rig.get(page, { 'x-test-user': 'bob@example.com', cookie: cookies });
        assert.equal(other.status, 404, 'another user finds nothing');
        const uid = page.split('/').at(-1);
        const resumed = await rig.get(`/authorize/${uid}`, { 'x-test-user': 'alice@example.com' });
        assert.equal(resumed.status, 400, 'nobody else goes on with it');
      }));

    it('a client with autoApprove gets its code without a page, and nobody else does', () =>
      scene(async (rig) => {
        const { resource: _, ...query } = { ...request(VERIFIER), client_id: 'headless' } as Record<
          string,
          string
        >;
        const answer = await rig.get(`/authorize?${new URLSearchParams(query)}`);
        assert.equal(answer.status, 303);
        assert.deepEqual(answer.headers.getSetCookie(), []);
        const code = new URL(answer.headers.get('location')!).searchParams.get('code')!;
        const basic = Buffer.from(`headless:${encodeURIComponent(SECRET)}`).toString('base64');
        const form = {
          grant_type: 'authorization_code',
          code,
          redirect_uri: REDIRECT,
          code_verifier: VERIFIER,
        };
        const { status, body } = await rig.post('/token', form, { authorization: `Basic ${basic}` });
        assert.equal(status, 200, JSON.stringify(body));
        assert.ok(await rig.opens(String(body.access_token)));
        const asked = await rig.get(
          `/authorize?${new URLSearchParams({ ...query, client_id: 'public', resource: rig.resource() })}`,
        );
        assert.match(asked.headers.get('location') ?? '', /^\/sign-in\//);
      }));
  });

  describe('/token', () => {
    it('authorization server checklist 20: takes forms alone, one proof of the client, and is never stored', () =>
      scene(async (rig) => {
        const form = { grant_type: 'client_credentials', ...CONFIDENTIAL };
        const good = await rig.post('/token', form);
        assert.equal(good.status, 200, JSON.stringify(good.body));
        assert.equal(good.headers.get('cache-control'), 'no-store');
        assert.equal(good.body.refresh_token, undefined);
        const wrong = await rig.post('/token', { ...form, client_secret: 'wrong' });
        assert.deepEqual([wrong.status, wrong.body.error], [401, 'invalid_client']);
        const basic = Buffer.from(`confidential:${encodeURIComponent(SECRET)}`).toString('base64');
        const both = await rig.post('/token', form, { authorization: `Basic ${basic}` });
        assert.deepEqual([both.status, both.body.error], [400, 'invalid_request']);
        const page = await rig.post('/token', { ...form, client_secret: 'x' }, { accept: 'text/html' });
        assert.match(page.headers.get('content-type') ?? '', /json/, 'whatever it accepts');
        for (const [method, type, body] of [
          ['GET', undefined, undefined],
          ['POST', 'application/json', JSON.stringify(form)],
          ['POST', 'application/x-www-form-urlencoded', `grant_type=${'x'.repeat(1_000_000)}`],
        ] as const) {
          const headers: Record<string, string> = type === undefined ? {} : { 'content-type': type };
          const answer = await fetch(`${rig.base}/token`, { method, headers, ...(body && { body }) });
          assert.ok([400, 405, 413].includes(answer.status), `${method} ${type}: ${answer.status}`);
          assert.match(answer.headers.get('content-type') ?? '', /json/);
          assert.equal(answer.headers.get('cache-control'), 'no-store');
        }
      }));

    it('tells a client that asks for token after token to wait', () =>
      scene(async (rig) => {
        const form = { grant_type: 'client_credentials', ...CONFIDENTIAL };
        let answer = await rig.post('/token', form);
        for (let asked = 0; asked < 700 && answer.status === 200; asked += 1)
          answer = await rig.post('/token', form);
        assert.deepEqual([answer.status, answer.body.error], [429, 'temporarily_unavailable']);
        assert.ok(Number(answer.headers.get('retry-after')) >= 1);
        await rig.tokens(await rig.code());
      }));

    it('gives a client its own token of the user that it is bound to', () =>
      scene(async (rig) => {
        const form = { grant_type: 'client_credentials', ...CONFIDENTIAL };
        const { access_token: token, scope } = await rig.tokens(form);
        assert.equal(scope, 'mcp');
        const found = await rig.oauth.accessTokens.authenticate(token);
        assert.ok(found.ok);
        assert.deepEqual([found.value.owner, found.value.project], ['alice@example.com', 'demo']);
        const operator = await rig.tokens({ ...form, scope: 'mcp:operator' });
        assert.equal(operator.scope, 'mcp:operator');
        assert.equal((await rig.post('/token', { ...form, scope: 'admin' })).body.error, 'invalid_scope');
        assert.equal(
          (await rig.post('/token', { ...form, resource: rig.resource('other') })).body.error,
          'invalid_target',
        );
        assert.equal(
          (await rig.post('/token', { ...form, client_id: 'public', client_secret: '' })).status,
          400,
        );
      }));
  });

  it('authorization server checklist 27: a device gets tokens when its user says so', () =>
    scene(async (rig) => {
      const { devices } = await rig.oauth.server();
      const start = { client_id: 'public', resource: rig.resource() };
      const { body } = await rig.post('/device_authorization', start);
      assert.equal(body.verification_uri, `${rig.base}/device`);
      assert.match(String(body.user_code), /^[B-Z]{4}-[B-Z]{4}$/);
      assert.ok(String(body.device_code).length >= 22);
      const poll = (more = {}) =>
        rig.post('/token', {
          grant_type: DEVICE_GRANT,
          client_id: 'public',
          device_code: String(body.device_code),
          ...more,
        });
      assert.equal((await poll()).body.error, 'authorization_pending');
      assert.equal((await poll()).body.error, 'slow_down');
      assert.equal((await poll({ client_id: 'castellan-cli' })).body.error, 'invalid_grant');
      const shown = await devices.find(String(body.user_code).toLowerCase(), 'alice@example.com');
      assert.ok(typeof shown === 'object');
      assert.deepEqual(
        [shown.client.name, shown.access.project, shown.access.scopes],
        ['Public client', 'demo', ['mcp']],
      );
      assert.equal(await devices.approve(String(body.user_code), 'alice@example.com'), 'approved');
      assert.equal(
        await devices.deny(String(body.user_code), 'alice@example.com'),
        'unknown',
        'it is decided',
      );
      const tokens = (await poll()).body;
      assert.ok(await rig.opens(String(tokens.access_token)), JSON.stringify(tokens));
      assert.equal((await poll()).body.error, 'invalid_grant');
      assert.ok(!(await rig.opens(String(tokens.access_token))), 'a second use ends what the first one got');

      const refused = (await rig.post('/device_authorization', start)).body;
      assert.equal(await devices.deny(String(refused.user_code), 'alice@example.com'), 'denied');
      const told = await poll({ device_code: String(refused.device_code) });
      assert.equal(told.body.error, 'access_denied');

      const rest = (await rig.post('/device_authorization', start)).body;
      const guesses = await Promise.all(
        Array.from({ length: 20 }, () => devices.find('BBBB-BBBB', 'alice@example.com')),
      );
      assert.ok(guesses.filter((answer) => answer === 'unknown').length <= 5, 'tries at once see each other');
      for (let guess = 0; guess < 5; guess += 1) await devices.find('BBBB-BBBB', 'alice@example.com');
      assert.equal(await devices.find(String(rest.user_code), 'alice@example.com'), 'too many');
      assert.equal(typeof (await devices.find(String(rest.user_code), 'bob@example.com')), 'object');
    }));

  it('authorization server checklist 22: a client takes back its own tokens, and nobody else does', () =>
    scene(async (rig) => {
      const revoke = (token: string, client: Record<string, string> = { client_id: 'public' }) =>
        rig.post('/revoke', { token, ...client });
      const first = await rig.tokens(await rig.code());
      assert.equal((await revoke(first.access_token, CONFIDENTIAL)).status, 200);
      assert.equal((await revoke('unknown')).status, 200);
      assert.ok(await rig.opens(first.access_token));
      assert.equal((await revoke(first.access_token)).status, 200);
      assert.ok(!(await rig.opens(first.access_token)));
      const second = (await rig.refresh(first.refresh_token!)).body;
      assert.ok(await rig.opens(String(second.access_token)), 'an access token goes alone');
      assert.equal((await revoke(String(second.refresh_token))).status, 200);
      assert.ok(!(await rig.opens(String(second.access_token))), 'a refresh token takes all with it');
      assert.equal((await rig.audited('access.revoked')).length, 2);
    }));

  it('says nothing about why while the database is gone, and goes on answering', () =>
    scene(async (rig) => {
      const form = await rig.code();
      await rig.store.close();
      const query = new URLSearchParams({ ...request(VERIFIER), resource: rig.resource() });
      const answers = [
        await fetch(`${rig.base}/token`, { method: 'POST', body: new URLSearchParams(form) }),
        await fetch(`${rig.base}/introspect`, {
          method: 'POST',
          body: new URLSearchParams({ token: 'cst_at_x', ...CONFIDENTIAL }),
        }),
        await rig.get(`/authorize?${query}`, { 'x-test-user': 'alice@example.com' }),
      ];
      for (const answer of answers) {
        const told = `${answer.headers.get('location')} ${await answer.text()}`;
        assert.ok([303, 500, 503].includes(answer.status), `${answer.status} ${told}`);
        assert.match(told, /server_error|temporarily_unavailable|went wrong|internal/);
        assert.doesNotMatch(told, /code=|select|sqlite|driver|destroyed|\bat \w+ \(/i);
      }
    }));

  it('shows both kinds of tokens to a client that proves itself', () =>
    scene(async (rig) => {
      const ask = async (token: string, client: Record<string, string> = CONFIDENTIAL) =>
        (await rig.post('/introspect', { token, ...client })).body;
      const of = await rig.tokens(await rig.code());
      const found = await ask(of.access_token);
      assert.deepEqual(
        [found.active, found.client_id, found.scope, found.aud],
        [true, 'public', 'mcp', rig.resource()],
      );
      assert.equal(found.username, 'alice@example.com');
      const elsewhere = await rig.tokens(await rig.code({ resource: rig.resource('other') }));
      assert.deepEqual(await ask(elsewhere.access_token), { active: false });
      assert.deepEqual(await ask('cst_at_nothing'), { active: false });
      assert.equal((await ask(of.access_token, { client_id: 'public' })).error, 'invalid_client');

      const { resources, tokens } = rig.identity;
      const project = resources.snapshot().projects.get('demo')!;
      const { localAdminCaller } = await import('../../src/identity/local-admin.ts');
      const made = await tokens.create({
        name: 'agent',
        project,
        creator: localAdminCaller(),
        surfaces: ['consumer'],
        rbac: 'empty',
        expiresAt: null,
      });
      assert.deepEqual([(await ask(made.raw)).active, (await ask(made.raw)).scope], [true, 'mcp']);
      await tokens.revoke('demo', 'agent');
      assert.deepEqual(await ask(made.raw), { active: false });
    }));
});
