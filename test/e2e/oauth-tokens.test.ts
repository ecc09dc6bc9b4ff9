import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { onEachDatabase, type TestDatabase } from '../support/databases.ts';
import { OAuthRig, REDIRECT } from '../support/oauth-rig.ts';

const RACES = 5;

async function until(isSo: () => Promise<boolean>, what: string): Promise<void> {
  const deadline = Date.now() + 5_000;
  while (!(await isSo())) {
    assert.ok(Date.now() < deadline, what);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

onEachDatabase('tokens of OAuth clients', (make) => {
  /** One process, and as many more on the same database as the scene wants. */
  const scene = async (play: (rig: OAuthRig, database: TestDatabase) => Promise<void>): Promise<void> => {
    const database = await make();
    try {
      const rig = await OAuthRig.start(database);
      try {
        await rig.prepare();
        await play(rig, database);
      } finally {
        await rig[Symbol.asyncDispose]();
      }
    } finally {
      await database.dispose();
    }
  };

  describe('codes', () => {
    it('become an access and a refresh token of the user, the project and the scope', () =>
      scene(async (rig) => {
        const tokens = await rig.tokens(await rig.code());
        assert.match(tokens.access_token, /^cst_at_[0-9A-Za-z]{49}$/);
        assert.match(tokens.refresh_token ?? '', /^cst_rt_[0-9A-Za-z]{49}$/);
        assert.equal(tokens.scope, 'mcp');
        const found = await rig.oauth.accessTokens.authenticate(tokens.access_token);
        assert.ok(found.ok);
        const { principal, owner, project, surfaces, ceilings } = found.value;
        assert.deepEqual(
          { principal, owner, project, surfaces: [...surfaces], ceilings },
          {
            principal: 'OAuthClient:public',
            owner: 'alice@example.com',
            project: 'demo',
            surfaces: ['consumer'],
            ceilings: ['User:alice@example.com'],
          },
        );
        const kept = JSON.stringify(await rig.store.db.selectFrom('oauth_artifacts').selectAll().execute());
        for (const secret of [tokens.access_token, tokens.refresh_token!])
          assert.ok(!kept.includes(secret.slice(7)), 'no token is in the database');
      }));

    it('authorization server checklist 18: a code is good once, and a second use ends what the first one got', () =>
      scene(async (rig) => {
        const form = await rig.code();
        const tokens = await rig.tokens(form);
        assert.ok(await rig.opens(tokens.access_token));
        const again = await rig.post('/token', form);
        assert.deepEqual([again.status, again.body.error], [400, 'invalid_grant']);
        assert.ok(!(await rig.opens(tokens.access_token)));
        assert.equal((await rig.refresh(tokens.refresh_token!)).body.error, 'invalid_grant');
        const [row] = await rig.audited('grant.replayed');
        assert.equal(JSON.parse(row!.detail!).what, 'code');
      }));

    it('authorization server checklist 18: a code is bound to its client, redirect, challenge and resource', () =>
      scene(async (rig) => {
        const form = await rig.code();
        const wrong: Record<string, string>[] = [
          { client_id: 'confidential', client_secret: 'not it' },
          { redirect_uri: `${REDIRECT}x` },
          { code_verifier: 'x'.repeat(43) },
          { code_verifier: 'short' },
          { code_verifier: '' },
          { code: `${form.code}x` },
        ];
        for (const change of wrong) {
          const { status, body } = await rig.post('/token', { ...form, ...change });
          assert.ok(status === 400 || status === 401, JSON.stringify({ change, status, body }));
        }
        const tokens = await rig.tokens(form);
        const other = await rig.post('/token', { ...form, code: 'unknown' });
        assert.equal(other.body.error, 'invalid_grant');
        assert.ok(await rig.opens(tokens.access_token), 'a wrong code ends nothing');
        const elsewhere = { ...(await rig.code()), resource: rig.resource('other') };
        assert.equal((await rig.post('/token', elsewhere)).body.error, 'invalid_target');
      }));

    it('redeemed twice at the same time have one winner', () =>
      scene(async (rig, database) => {
        const replica = database.name === 'PostgreSQL' ? await OAuthRig.start(database) : undefined;
        try {
          for (let race = 0; race < RACES; race += 1) {
            const form = await rig.code();
            const answers = await Promise.all([
              rig.post('/token', form),
              (replica ?? rig).post('/token', form),
            ]);
            assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 400]);
            const loser = answers.find(({ status }) => status === 400)!;
            assert.equal(loser.body.error, 'invalid_grant');
          }
        } finally {
          await replica?.[Symbol.asyncDispose]();
        }
      }));
  });

  describe('refresh tokens', () => {
    it('authorization server checklist 19: fifty refreshes at once leave one live family, and nobody out', () =>
      scene(async (rig, database) => {
        const replica = database.name === 'PostgreSQL' ? await OAuthRig.start(database) : undefined;
        try {
          const first = await rig.tokens(await rig.code());
          const second = replica ?? rig;
          const answers = await Promise.all(
            Array.from({ length: 50 }, (_, at) => (at % 2 ? rig : second).refresh(first.refresh_token!)),
          );
          for (const { status, body } of answers) assert.equal(status, 200, JSON.stringify(body));
          const successors = new Set(answers.map(({ body }) => body.refresh_token));
          assert.equal(successors.size, 1, 'all of them have the same refresh token');
          for (const { body } of answers) assert.ok(await rig.opens(String(body.access_token)));
          assert.equal((await rig.refresh(String([...successors][0]))).status, 200);
        } finally {
          await replica?.[Symbol.asyncDispose]();
        }
      }));

    it('authorization server checklist 19: a replay after the grace ends that authorization alone, and is audited', () =>
      scene(async (rig) => {
        const bystander = await rig.tokens(await rig.code());
        const first = await rig.tokens(await rig.code());
        const second = (await rig.refresh(first.refresh_token!)).body;
        rig.clock.ahead = 29_000;
        const late = (await rig.refresh(first.refresh_token!)).body;
        assert.equal(late.refresh_token, second.refresh_token, 'within the grace the answer is the same');
        rig.clock.ahead = 31_000;
        const replay = await rig.refresh(first.refresh_token!);
        assert.deepEqual([replay.status, replay.body.error], [400, 'invalid_grant']);
        for (const token of [first.access_token, second.access_token, late.access_token])
          assert.ok(!(await rig.opens(String(token))));
        assert.equal((await rig.refresh(String(second.refresh_token))).body.error, 'invalid_grant');
        assert.ok(await rig.opens(bystander.access_token), 'the other authorization goes on');
        assert.equal((await rig.refresh(bystander.refresh_token!)).status, 200);
        const rows = await rig.audited('grant.replayed');
        assert.equal(rows.length, 1);
        assert.equal(rows[0]!.user_name, 'alice@example.com');
        assert.equal(rows[0]!.behind, 'OAuthClient:public');
        assert.deepEqual(JSON.parse(rows[0]!.detail!), { client: 'public', what: 'refresh token' });
      }));

    it('authorization server checklist 19: scope and resource never widen', () =>
      scene(async (rig) => {
        const { refresh_token: token = '' } = await rig.tokens(await rig.code());
        const wider = await rig.refresh(token, { scope: 'mcp mcp:operator' });
        assert.equal(wider.body.error, 'invalid_scope');
        const elsewhere = await rig.refresh(token, { resource: rig.resource('other') });
        assert.equal(elsewhere.body.error, 'invalid_target');
        assert.equal((await rig.refresh(token, { client_id: 'castellan-cli' })).body.error, 'invalid_grant');
      }));

    it('end with the user, with the project, and with the consent', () =>
      scene(async (rig) => {
        const { resources } = rig.identity;
        const tokens = await rig.tokens(await rig.code());
        const [grant] = await rig.oauth.grants.list();
        assert.deepEqual(
          [grant?.user, grant?.clientId, grant?.project],
          ['alice@example.com', 'public', 'demo'],
        );
        await rig.oauth.grants.withdraw(grant!.id);
        assert.ok(!(await rig.opens(tokens.access_token)));
        assert.equal((await rig.refresh(tokens.refresh_token!)).body.error, 'invalid_grant');

        const ofProject = await rig.tokens(await rig.code());
        await resources.remove('Project', 'demo');
        await resources.put({ kind: 'Project', metadata: { name: 'demo' }, spec: { servers: [] } });
        assert.ok(!(await rig.opens(ofProject.access_token)), 'a later project of that name is another one');
        assert.equal((await rig.refresh(ofProject.refresh_token!)).body.error, 'invalid_grant');

        await until(async () => (await rig.oauth.grants.list()).length === 0, 'its consents are forgotten');

        const ofUser = await rig.tokens(await rig.code());
        await resources.put({
          kind: 'User',
          metadata: { name: 'alice@example.com' },
          spec: { disabled: true },
        });
        assert.ok(!(await rig.opens(ofUser.access_token)));
        assert.equal((await rig.refresh(ofUser.refresh_token!)).body.error, 'invalid_grant');
      }));
  });

  it('authorization server checklist 22: end on every replica within five seconds, with what lives on them', () =>
    scene(async (rig, database) => {
      const replica = database.name === 'PostgreSQL' ? await OAuthRig.start(database) : rig;
      try {
        const tokens = await rig.tokens(await rig.code());
        const found = await replica.oauth.accessTokens.authenticate(tokens.access_token);
        assert.ok(found.ok);
        let told = '';
        replica.oauth.accessTokens.onEnded((credential) => {
          told = credential;
        });
        const release = replica.oauth.accessTokens.hold(found.value.credentialId ?? '');
        const began = Date.now();
        await rig.post('/revoke', { token: tokens.refresh_token ?? '', client_id: 'public' });
        await until(async () => !(await replica.opens(tokens.access_token)), 'it opens nothing any more');
        await until(async () => told === found.value.credentialId, 'a stream on it has ended');
        assert.ok(Date.now() - began < 5_000);
        release();
      } finally {
        if (replica !== rig) await replica[Symbol.asyncDispose]();
      }
    }));

  it('survive a restart between the code and the token, and between the token and its use', () =>
    scene(async (first, database) => {
      const form = await first.code();
      const { port } = first;
      await first[Symbol.asyncDispose]();
      const second = await OAuthRig.start(database, port);
      const tokens = await second.tokens(form);
      await second[Symbol.asyncDispose]();
      const third = await OAuthRig.start(database, port);
      try {
        assert.ok(await third.opens(tokens.access_token));
        assert.equal((await third.refresh(tokens.refresh_token!)).status, 200);
      } finally {
        await third[Symbol.asyncDispose]();
      }
    }));
});
