import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fieldName } from './problems.ts';
import { resolvedServerProblems, serverProblems, serverSpec } from './server-fields.ts';

const open = '${';
const url = 'https://example.com/mcp';
const written = (auth: object, more: object = {}) =>
  serverProblems({ url, auth, ...more }).map(({ path, message }) => `${fieldName(path)}: ${message}`);
const headers = (auth: object) => {
  const spec = { url, auth, headers: { 'X-Other': 'o' } };
  assert.deepEqual(resolvedServerProblems(spec), []);
  const { target } = serverSpec(spec as never);
  assert.equal(target.type, 'http');
  return target.type === 'http' ? target.headers : {};
};

describe('auth of a server', () => {
  it('is the header that carries it, beside the others', () => {
    assert.deepEqual(headers({ type: 'bearer', token: 't' }), {
      'X-Other': 'o',
      Authorization: 'Bearer t',
    });
    assert.deepEqual(headers({ type: 'header', name: 'X-Key', value: 'v' }), {
      'X-Other': 'o',
      'X-Key': 'v',
    });
    const basic = headers({ type: 'basic', username: 'ann', password: 'p:w' });
    assert.equal(basic.Authorization, `Basic ${Buffer.from('ann:p:w').toString('base64')}`);
  });

  it('takes its confidential part from a placeholder, and says so without repeating it', () => {
    const secret = `${open}secret:a.k}`;
    assert.deepEqual(written({ type: 'bearer', token: secret }), []);
    assert.deepEqual(written({ type: 'basic', username: 'ann', password: secret }), []);
    for (const auth of [
      { type: 'bearer', token: 'in-clear' },
      { type: 'header', name: 'X-Key', value: 'in-clear' },
      { type: 'basic', username: 'ann', password: 'in-clear' },
    ]) {
      const [problem = '', ...more] = written(auth);
      assert.deepEqual(more, []);
      assert.match(
        problem,
        /^spec\.auth\.(token|value|password): is written in plain text: put it in a secret/,
      );
      assert.ok(!problem.includes('in-clear'), problem);
    }
  });

  it('is refused where it has no meaning, or would say the same twice', () => {
    const auth = { type: 'bearer', token: `${open}secret:a.k}` };
    assert.match(
      written(auth, { headers: { authorization: 'x' } })[0] ?? '',
      /^spec\.headers\.authorization/,
    );
    const [process] = serverProblems({ command: 'x', auth });
    assert.match(process?.message ?? '', /beside url alone/);
    assert.match(
      written({ type: 'password' })[0] ?? '',
      /^spec\.auth.*: has no such type: use one of bearer/,
    );
    assert.match(written({ token: 'x' })[0] ?? '', /^spec\.auth.*: has no such type: use one of bearer/);
    assert.match(written({ ...auth, tokn: 'x' })[0] ?? '', /unknown key/);
    const reserved = { type: 'header', name: 'Host', value: `${open}secret:a.k}` };
    assert.match(written(reserved)[0] ?? '', /set by Castellan itself/);
    const broken = resolvedServerProblems({ url, auth: { type: 'bearer', token: 'a\nb' } });
    assert.match(broken[0]?.message ?? '', /a header cannot carry/);
    const empty = resolvedServerProblems({ url, auth: { type: 'bearer', token: ' ' } });
    assert.match(empty[0]?.message ?? '', /is empty/);
    const colon = resolvedServerProblems({ url, auth: { type: 'basic', username: 'a:b', password: 'p' } });
    assert.match(colon[0]?.message ?? '', /contains a ":"/);
  });
});
