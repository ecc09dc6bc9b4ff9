import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkObject } from './objects.ts';
import { policyOf } from './policy-fields.ts';
import { describeProblem } from './problems.ts';
import { projectSpec } from './project-fields.ts';
import { buildSnapshot, locateField } from './snapshot.ts';

const RULE = { tools: ['db__*'], action: 'deny' };

function problems(kind: string, spec: unknown): string[] {
  const found = checkObject({ kind, metadata: { name: 'x' }, spec }).problems;
  return found.map((problem) => describeProblem(locateField(problem)));
}
const ofRules = (...rules: unknown[]) => problems('Policy', { projects: ['*'], rules });

describe('a Policy', () => {
  it('is taken as the manual writes it', () => {
    assert.deepEqual(
      ofRules(
        { tools: ['db__query'], when: 'args.sql.size() > 2000', action: 'deny', reason: 'too large' },
        { tools: ['*'], action: 'allow' },
      ),
      [],
    );
  });

  it('is refused with the field, the rule, the column and the fix', () => {
    const cases: [string[], RegExp][] = [
      [problems('Policy', { rules: [RULE] }), /^spec\.projects: is missing: add it/],
      [problems('Policy', { projects: [], rules: [RULE] }), /^spec\.projects: is too small/],
      [problems('Policy', { projects: ['*'] }), /^spec\.rules: is missing/],
      [ofRules(), /^spec\.rules: is too small/],
      [ofRules({ action: 'deny' }), /^spec\.rules\[0\]\.tools: is missing/],
      [ofRules({ tools: ['a'] }), /^spec\.rules\[0\]\.action: /],
      [ofRules({ ...RULE, tool: 'x' }), /^spec\.rules\[0\]\.tool: unknown key: did you mean tools\?/],
      [ofRules(RULE, { ...RULE, when: 'args.x ==' }), /^spec\.rules\[1\]\.when: column 10: /],
      [
        ofRules({ ...RULE, when: 'caller.nme == "a"' }),
        /^spec\.rules\[0\]\.when: column 8: No such key: nme/,
      ],
      [
        ofRules({ ...RULE, executeOn: 'retry' }),
        /^spec\.rules\[0\]\.executeOn: has no meaning beside action/,
      ],
      [ofRules({ ...RULE, action: 'approve', holdMs: -1 }), /^spec\.rules\[0\]\.holdMs: /],
      [
        ofRules({ ...RULE, action: 'approve', outcomeTtl: '1s' }),
        /^spec\.rules\[0\]\.outcomeTtl: is out of range/,
      ],
      [ofRules({ ...RULE, expires: '1h' }), /^spec\.rules\[0\]\.expires: has no meaning beside action: deny/],
      [
        ofRules({ ...RULE, action: 'approve', approvers: ['oncall'] }),
        /^spec\.rules\[0\]\.approvers\[0\]: names nobody: write User:/,
      ],
      [ofRules({ ...RULE, selfApproval: 'yes' }), /selfApproval: must be one of page, cli, never/],
      [ofRules({ ...RULE, expires: 'soon' }), /expires: is no valid value/],
    ];
    for (const [found, expected] of cases) {
      assert.equal(found.length, 1, JSON.stringify(found));
      assert.match(found[0]!, expected);
    }
  });

  it('says whom to notify with secrets in the place of what is secret', () => {
    const secret = `\${secret:hooks.key}`;
    const url = 'https://hooks.example.com/x';
    const found = (notify: object, more: object = {}) =>
      ofRules({ ...RULE, action: 'approve', notify, ...more });
    for (const notify of [
      { url, secret },
      { url: secret, secret, format: 'webhook', remind: '10m' },
      { url: 'https://ntfy.sh/topic', format: 'ntfy' },
      { url: 'http://ntfy.lan:8080/topic', format: 'ntfy', secret },
      { url: secret, format: 'slack' },
      { url: `https://hooks.slack.com/services/${secret}`, format: 'slack' },
    ])
      assert.deepEqual(found(notify), [], JSON.stringify(notify));
    const cases: [string[], RegExp][] = [
      [found({ secret }), /notify\.url: is missing/],
      [found({ url }), /notify\.secret: is missing: it signs what is sent/],
      [found({ url, secret: 'whsec_abc' }), /notify\.secret: is written in plain text: put it in a secret/],
      [found({ url, secret: `${secret}\${HOME}` }), /notify\.secret: nothing but \$\{secret:NAME\.KEY\}/],
      [found({ url: `https://x/\${HOME}`, secret }), /notify\.url: nothing but \$\{secret:NAME\.KEY\}/],
      [found({ url: 'ftp://x/', secret }), /notify\.url: is not a plain http or https URL/],
      [found({ url: 'https://a:b@x/', secret }), /notify\.url: contains a user or password/],
      [found({ url, secret, format: 'teams' }), /notify\.format: must be one of webhook, ntfy, slack/],
      [found({ url, secret, remind: '1s' }), /notify\.remind: is out of range/],
      [found({ url, secret, remind: '2h' }), /notify\.remind: is not shorter than expires/],
      [found({ url, secret, key: 'x' }), /notify\.key: unknown key/],
      [found({ url: 'https://ntfy.sh/', format: 'ntfy' }), /notify\.url: names no topic/],
      [found({ url, format: 'slack' }), /notify\.url: lets whoever reads it write to the channel/],
      [found({ url: secret, format: 'slack', secret }), /notify\.secret: has no meaning for Slack/],
      [found({ url, secret }, { action: 'deny' }), /notify: has no meaning beside action: deny/],
    ];
    for (const [[problem = ''], expected] of cases) assert.match(problem, expected);
  });

  it('that cannot be read covers what it can be seen to cover, else everything', () => {
    const read = (spec: unknown) => policyOf('p', spec, locateField);
    const broken = read({ projects: ['demo'], rules: [{ tools: ['*'], action: 'ask' }] });
    assert.deepEqual(broken.projects, ['demo']);
    assert.match('fault' in broken ? broken.fault : '', /spec\.rules\[0\]\.action/);
    for (const spec of [undefined, {}, { projects: 'demo', rules: [RULE] }, { projects: [] }]) {
      assert.deepEqual(read(spec).projects, ['*']);
    }
  });

  it('decides in the snapshot, and says there when it cannot', () => {
    const object = { kind: 'Policy' as const, uid: 'pol_1', file: undefined, locate: locateField };
    const none = () => ({ error: 'none' });
    const surroundings = { env: {}, builtin: none, secret: none, digest: (text: string) => text };
    const good = { ...object, name: 'good', spec: { projects: ['*'], rules: [RULE] } };
    const bad = { ...object, name: 'bad', spec: { projects: ['other'] } };
    const { policies } = buildSnapshot([good, bad], 1, surroundings);
    assert.equal(policies.entries.get('good')?.error, undefined);
    assert.match(policies.entries.get('bad')?.error ?? '', /^spec\.rules: is missing/);
    const action = (project: string, tool: string) =>
      policies.book.of(project, 'allow').tool(tool).settled?.action;
    assert.equal(action('demo', 'db__query'), 'deny');
    assert.equal(action('demo', 'fs__read'), 'allow');
    assert.equal(action('other', 'fs__read'), 'deny');
  });
});

describe('a Project', () => {
  it('may deny by default, and cannot ask yet', () => {
    assert.deepEqual(problems('Project', { defaultAction: 'deny' }), []);
    assert.match(
      problems('Project', { defaultAction: 'approve' })[0]!,
      /approve is not available yet: use allow or deny/,
    );
    for (const exposure of ['full', 'meta', 'gated']) assert.deepEqual(problems('Project', { exposure }), []);
    assert.match(problems('Project', { exposure: 'none' })[0]!, /must be one of full, meta, gated/);
  });

  it('has limits for each token, each user and all together', () => {
    const limits = {
      token: { calls: 100, per: '30s', concurrent: 10 },
      user: { calls: 5 },
      tool: { calls: 2, per: '1s' },
      project: { concurrent: 3 },
    };
    assert.deepEqual(problems('Project', { limits }), []);
    assert.deepEqual(projectSpec({ limits }).limits, {
      token: { rate: { calls: 100, perMs: 30_000 }, concurrent: 10 },
      user: { rate: { calls: 5, perMs: 60_000 }, concurrent: undefined },
      tool: { rate: { calls: 2, perMs: 1_000 }, concurrent: undefined },
      project: { rate: undefined, concurrent: 3 },
    });
    assert.equal(projectSpec({ limits: {} }).limits, undefined);
    const cases: [unknown, RegExp][] = [
      [{ token: {} }, /spec\.limits\.token: limits nothing: add calls or concurrent/],
      [{ token: { per: '1m' } }, /spec\.limits\.token\.per: has no meaning without calls/],
      [{ token: { calls: 0 } }, /spec\.limits\.token\.calls: is too small: the least is 1/],
      [{ token: { calls: 1, per: 'x' } }, /spec\.limits\.token\.per: is no valid value/],
      [{ tokens: { calls: 1 } }, /spec\.limits\.tokens: unknown key: did you mean token\?/],
    ];
    for (const [written, expected] of cases)
      assert.match(problems('Project', { limits: written })[0]!, expected);
  });
});
