import assert from 'node:assert/strict';
import { it } from 'node:test';
import { onEachDatabase } from '../support/databases.ts';
import { OAuthRig } from '../support/oauth-rig.ts';

onEachDatabase('tokens of OAuth clients', (make) => {
  it('gives a code for a consent, and tokens for the code', async () => {
    await using database = await disposable(make);
    await using rig = await OAuthRig.start(database);
    await rig.prepare();
    const form = await rig.code();
    const tokens = await rig.tokens(form);
    assert.match(tokens.access_token, /^cst_at_[0-9A-Za-z]{49}$/);
    assert.match(tokens.refresh_token ?? '', /^cst_rt_[0-9A-Za-z]{49}$/);
    assert.equal(tokens.scope, 'mcp');
    const found = await rig.oauth.accessTokens.authenticate(tokens.access_token);
    assert.ok(found.ok);
    assert.equal(found.value.owner, 'alice@example.com');
    assert.equal(found.value.project, 'demo');
  });
});

async function disposable(make: () => Promise<import('../support/databases.ts').TestDatabase>) {
  const database = await make();
  return { ...database, [Symbol.asyncDispose]: () => database.dispose() };
}
