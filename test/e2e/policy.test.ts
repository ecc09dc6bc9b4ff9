import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { after, before, describe, test } from 'node:test';
import { mintCredential } from '../../src/base/ids.ts';
import { Agent, type Loose, newAgent } from '../support/agent.ts';
import { EndpointRig } from '../support/endpoint-rig.ts';
import { eventually } from '../support/processes.ts';

let rig: EndpointRig;
let agent: Agent;

before(async () => {
  rig = await EndpointRig.start({
    servers: {},
    projects: {
      guarded: { servers: ['legacy', 'modern'] },
      closed: { servers: ['modern'], defaultAction: 'deny' },
      bounded: { servers: ['modern'], limits: { tool: { calls: 1, per: '1h' } } },
      sided: {
        servers: ['modern'],
        operatorServers: ['legacy'],
        limits: { surface: { calls: 2, per: '1h' } },
      },
      limited: {
        servers: ['modern'],
        limits: { token: { calls: 3, per: '1h' }, project: { concurrent: 1 } },
      },
    },
  });
  agent = await newAgent(rig.castellan, 'guarded');
  await ask(agent, 'tools/list');
});
after(async () => {
  await rig[Symbol.asyncDispose]();
});

const run = (...args: string[]) => rig.castellan.cli(...args);

async function apply(name: string, spec: object): Promise<void> {
  const file = path.join(rig.folder, `${name}.json`);
  await writeFile(file, JSON.stringify({ kind: 'Policy', metadata: { name }, spec }));
  const { code, stderr } = await run('apply', '-f', file);
  assert.equal(code, 0, stderr);
}

const ask = (who: Agent, method: string, params: object = {}): Promise<Loose> => who.ask(method, params);
const call = (who: Agent, name: string, args: object = {}) =>
  ask(who, 'tools/call', { name, arguments: args });
const namesOf = (list: Loose) => (list.result.tools as { name: string }[]).map((tool) => tool.name);
const refusalIn = (answer: Loose) => answer.result?._meta?.['castellan/error'];

/** Details of the rows of an event, as they are on the disk. */
function details(event: string): Loose[] {
  const database = new DatabaseSync(path.join(rig.castellan.dataDir, 'castellan.db'), { readOnly: true });
  try {
    const rows = database.prepare('select detail from audit_events where event = ? order by seq').all(event);
    return rows.map(({ detail }) => JSON.parse(String(detail ?? '{}')));
  } finally {
    database.close();
  }
}

describe('policies', () => {
  test('deny by the arguments of a call, with the reason of the rule, and say which it was in the audit', async () => {
    await apply('sizes', {
      projects: ['guarded'],
      rules: [
        { tools: ['legacy__echo'], when: 'args.text.size() > 10', action: 'deny', reason: 'too large' },
      ],
    });
    const before = rig.forwarded();
    const refused = await call(agent, 'legacy__echo', { text: 'x'.repeat(11) });
    assert.equal(refused.result.isError, true);
    assert.deepEqual(refusalIn(refused), { code: 'POLICY_DENIED', retry: 'never', reason: 'too large' });
    assert.match(refused.result.content[0].text, /too large/);
    // A condition that fails never opens anything.
    assert.equal(refusalIn(await call(agent, 'legacy__echo', {})).code, 'POLICY_DENIED');
    assert.equal(rig.forwarded(), before);
    await eventually('the audit names the rule, and that its condition failed', () => {
      const told = details('tool.call').filter(({ policy }) => policy === 'sizes');
      return told.length === 2 && told.every(({ rule }) => rule === 0) && told[1].failed === true;
    });
    assert.equal(refusalIn(await call(agent, 'legacy__echo', { text: 'short' })), undefined);
    assert.equal(rig.forwarded(), before + 1);
    assert.ok(namesOf(await ask(agent, 'tools/list')).includes('legacy__echo'));
    // Another project has no such policy.
    assert.equal(refusalIn(await call(rig.agent, 'legacy__echo', { text: 'x'.repeat(11) })), undefined);
  });

  test('say that they denied a call, with and without a reason, and hide no tool', async () => {
    await apply('words', {
      projects: ['guarded'],
      rules: [
        { tools: ['modern__echo'], action: 'deny' },
        { tools: ['modern__hold'], action: 'deny', reason: 'ask first' },
      ],
    });
    const names = namesOf(await ask(agent, 'tools/list'));
    assert.ok(names.includes('modern__echo') && names.includes('modern__hold'), names.join());
    const before = rig.forwarded();
    assert.deepEqual(refusalIn(await call(agent, 'modern__echo', { text: 'x' })), {
      code: 'POLICY_DENIED',
      retry: 'never',
      reason: 'the policies of this project do not allow it',
    });
    assert.equal(refusalIn(await call(agent, 'modern__hold')).reason, 'ask first');
    assert.equal(rig.forwarded(), before);
    assert.equal((await call(agent, 'modern__nothing')).error.data.code, 'UNKNOWN_TOOL');
  });

  test('of a project that denies by default open what they name and nothing else', async () => {
    const closed = await newAgent(rig.castellan, 'closed');
    assert.deepEqual(namesOf(await ask(closed, 'tools/list')), []);
    await apply('opening', { projects: ['closed'], rules: [{ tools: ['modern__echo'], action: 'allow' }] });
    assert.deepEqual(namesOf(await ask(closed, 'tools/list')), ['modern__echo']);
    assert.equal(refusalIn(await call(closed, 'modern__echo', { text: 'x' })), undefined);
    assert.equal((await call(closed, 'modern__hold')).error.data.code, 'UNKNOWN_TOOL');
    await run('delete', 'policy', 'opening');
    assert.deepEqual(namesOf(await ask(closed, 'tools/list')), []);
  });

  test('with a wrong expression are refused, naming rule and column', async () => {
    const file = path.join(rig.folder, 'wrong.yaml');
    const rules = '    - { tools: ["*"], action: deny, when: caller.nme == "x" }\n';
    await writeFile(
      file,
      `kind: Policy\nmetadata: { name: wrong }\nspec:\n  projects: ["*"]\n  rules:\n${rules}`,
    );
    const { code, stderr } = await run('apply', '-f', file);
    assert.equal(code, 1);
    assert.match(stderr, /wrong\.yaml:6: spec\.rules\[0\]\.when: column 8: No such key: nme/);
  });

  test('get policies shows what can be read', async () => {
    const { stdout } = await run('get', 'policies');
    assert.match(stdout, /NAME +PROJECTS +RULES +STATUS/);
    assert.match(stdout, /sizes +guarded +1 +ready/);
    assert.match((await run('describe', 'policy', 'sizes')).stdout, /state: ready/);
  });
});

describe('policy test', () => {
  const policies = `kind: Project
metadata: { name: shut }
spec: { defaultAction: deny }
---
kind: Policy
metadata: { name: sql }
spec:
  projects: ["*"]
  rules:
    - { tools: ["db__*"], when: 'args.sql.matches("(?i)drop")', action: deny, reason: "no drops" }
    - { tools: ["db__*"], action: allow }
`;
  let file: string;
  before(async () => {
    file = path.join(rig.folder, 'policies.yaml');
    await writeFile(file, policies);
  });

  test('asks the policies of a file, without a server', async () => {
    const nowhere = ['--data-dir', path.join(rig.folder, 'nowhere')];
    const one = await run(
      'policy',
      'test',
      '-f',
      file,
      '--tool',
      'db__query',
      '--args',
      '{"sql":"DROP x"}',
      ...nowhere,
    );
    assert.equal(one.code, 0, one.stderr);
    assert.match(one.stdout, /db__query +default +deny +sql rules\[0\] +no drops/);
    const cases = path.join(rig.folder, 'cases.yaml');
    await writeFile(
      cases,
      `- { tool: db__query, args: { sql: select }, project: shut, expect: allow }
- { tool: fs__read, project: shut, expect: deny }
- { tool: db__query, args: {}, expect: deny }
`,
    );
    const all = await run('policy', 'test', '-f', file, '--case', cases, '-o', 'json', ...nowhere);
    assert.equal(all.code, 0, all.stderr);
    const { items } = JSON.parse(all.stdout);
    assert.deepEqual(
      items.map(({ by, failed }: { by: string; failed?: boolean }) => [by, failed]),
      [
        ['sql rules[1]', undefined],
        ['defaultAction', undefined],
        ['sql rules[0]', true],
      ],
    );
    const wrong = await run(
      'policy',
      'test',
      '-f',
      file,
      '--case',
      '{tool: db__x, args: {sql: a}, expect: deny}',
      ...nowhere,
    );
    assert.equal(wrong.code, 1);
    assert.match(wrong.stderr, /1 of 1 cases is not as expected/);
    assert.match(wrong.stdout, /WRONG/);
  });

  test('asks the policies in force, and names what is wrong with a question', async () => {
    const live = await run('policy', 'test', '-p', 'guarded', '--tool', 'modern__hold');
    assert.match(live.stdout, /modern__hold +guarded +deny +words rules\[1\] +ask first/);
    assert.equal((await run('policy', 'test', '-p', 'nope', '--tool', 'x')).code, 1);
    assert.equal((await run('policy', 'test')).code, 64);
    const bad = await run('policy', 'test', '-f', file, '--case', '{tol: x}');
    assert.equal(bad.code, 64);
    assert.match(bad.stderr, /tol: unknown key: did you mean tool\?/);
  });
});

describe('limits', () => {
  test('of a tool hold for all tokens together, and for each tool alone', async () => {
    const [one, two] = await Promise.all([
      newAgent(rig.castellan, 'bounded'),
      newAgent(rig.castellan, 'bounded'),
    ]);
    assert.equal(refusalIn(await call(one, 'modern__echo', { text: 'x' })), undefined);
    const refused = refusalIn(await call(two, 'modern__echo', { text: 'x' }));
    assert.deepEqual([refused.code, refused.limit], ['RATE_LIMITED', 'tool']);
    const held = rig.modern.calls.length;
    const running = call(two, 'modern__hold');
    await rig.modern.arrival(held);
    rig.modern.letGo();
    assert.equal(refusalIn(await running), undefined);
  });

  test('of a surface hold for all who call there, and leave the other surface alone', async () => {
    const on = (surface: string) => newAgent(rig.castellan, 'sided', { surface });
    const [one, two, operator] = await Promise.all([on('consumer'), on('consumer'), on('operator')]);
    for (const who of [one, two])
      assert.equal(refusalIn(await call(who, 'modern__echo', { text: 'x' })), undefined);
    const before = rig.forwarded();
    const refused = await call(two, 'modern__echo', { text: 'x' });
    assert.deepEqual([refusalIn(refused).code, refusalIn(refused).limit], ['RATE_LIMITED', 'surface']);
    assert.match(refused.result.content[0].text, /this surface in this project has had too many calls/);
    assert.equal(rig.forwarded(), before);
    assert.equal(refusalIn(await call(operator, 'legacy__echo', { text: 'x' })), undefined);
  });

  test('refuse what is too much, say when to come back, and count each token alone', async () => {
    const [one, two] = await Promise.all([
      newAgent(rig.castellan, 'limited'),
      newAgent(rig.castellan, 'limited'),
    ]);
    for (let index = 0; index < 3; index += 1)
      assert.equal(refusalIn(await call(one, 'modern__echo', { text: 'x' })), undefined);
    const before = rig.forwarded();
    const refused = refusalIn(await call(one, 'modern__echo', { text: 'x' }));
    assert.equal(refused.code, 'RATE_LIMITED');
    assert.equal(refused.retry, 'after_ms');
    assert.ok(
      refused.retryAfterMs > 60_000 && refused.retryAfterMs <= 1_200_000,
      String(refused.retryAfterMs),
    );
    const read = await ask(one, 'resources/read', { uri: 'x://y' });
    assert.equal(read.error.data.code, 'RATE_LIMITED');
    assert.equal(rig.forwarded(), before);
    // Lists cost nothing.
    assert.ok(namesOf(await ask(one, 'tools/list')).length > 0);

    const held = rig.modern.calls.length;
    const running = call(two, 'modern__hold');
    await rig.modern.arrival(held);
    const second = refusalIn(await call(two, 'modern__echo', { text: 'x' }));
    assert.equal(second.code, 'RATE_LIMITED');
    assert.equal(second.limit, 'project');
    rig.modern.letGo();
    await running;
    assert.equal(refusalIn(await call(two, 'modern__echo', { text: 'x' })), undefined);
  });
});

describe('freeze', () => {
  test('stops calls of one project, shows everywhere, and lets them go on', async () => {
    const frozen = await run('freeze', '-p', 'guarded', '--reason', 'strange calls');
    assert.equal(frozen.stdout, 'project/guarded frozen\n', frozen.stderr);
    const before = rig.forwarded();
    const refused = await call(agent, 'legacy__echo', { text: 'x' });
    const refusal = refusalIn(refused);
    assert.equal(refusal.code, 'FROZEN');
    assert.equal(refusal.reason, 'strange calls');
    assert.equal(refusal.by, 'User:admin');
    assert.ok(Date.parse(refusal.since) > 0);
    assert.match(refused.result.content[0].text, /strange calls/);
    assert.equal((await ask(agent, 'prompts/get', { name: 'x' })).error.data.code, 'FROZEN');
    assert.equal((await call(agent, 'legacy__nothing')).error.data.code, 'UNKNOWN_TOOL');
    assert.equal(rig.forwarded(), before);
    assert.equal(refusalIn(await call(rig.agent, 'legacy__echo', { text: 'x' })), undefined);
    assert.match((await run('get', 'projects')).stdout, /guarded .*frozen/);
    assert.match((await run('describe', 'project', 'guarded')).stdout, /reason: strange calls/);
    assert.match(
      (await run('mcp', 'status')).stderr,
      /project guarded is frozen since .* by User:admin: strange/,
    );

    assert.equal((await run('freeze')).code, 0);
    assert.equal(refusalIn(await call(rig.agent, 'legacy__echo', { text: 'x' })).code, 'FROZEN');
    assert.match((await run('unfreeze', '-p', 'guarded')).stderr, /every project is still frozen/);
    assert.equal(refusalIn(await call(agent, 'legacy__echo', { text: 'x' })).code, 'FROZEN');
    assert.equal((await run('unfreeze')).stdout, 'all projects unfrozen\n');
    assert.equal(refusalIn(await call(agent, 'legacy__echo', { text: 'x' })), undefined);
    assert.equal((await run('unfreeze')).code, 1);
    assert.equal((await run('freeze', '-p', 'nope')).code, 1);
    assert.deepEqual(details('calls.frozen'), [{ reason: 'strange calls' }, { reason: '' }]);
    assert.equal(details('calls.thawed').length, 2);
  });

  test('lets a call that is running end', async () => {
    const held = rig.legacy.calls.length;
    const running = call(agent, 'legacy__hold');
    await rig.legacy.arrival(held);
    await run('freeze', '-p', 'guarded');
    rig.legacy.letGo();
    assert.equal(refusalIn(await running), undefined);
    await run('unfreeze', '-p', 'guarded');
  });

  test('is not for a token without the right to it', async () => {
    const bind = ['--bind', 'role:run,resource:tools'];
    const { stdout: token } = await run('create', 'mcptoken', 'bare', '-p', 'guarded', ...bind);
    const response = await fetch(`${rig.castellan.url}/api/v1/freezes/guarded`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${token.trim()}`, 'content-type': 'application/json' },
      body: '{}',
    });
    assert.equal(response.status, 403);
    assert.match(await response.text(), /action:freeze/);
  });
});

describe('wrong credentials', () => {
  test('thousands of them end in 429 before anything is read, and good ones still work', async () => {
    const endpoint = `${rig.castellan.url}/projects/guarded/mcp`;
    const seen = new Map<number, number>();
    let retryAfter = '';
    const guess = async () => {
      const response = await new Agent(endpoint, mintCredential('pat')).send(randomBytes(8).toString('hex'));
      seen.set(response.status, (seen.get(response.status) ?? 0) + 1);
      retryAfter = response.headers.get('retry-after') ?? retryAfter;
      await response.arrayBuffer();
    };
    for (let round = 0; round < 20; round += 1) await Promise.all(Array.from({ length: 100 }, guess));
    assert.deepEqual([...seen.keys()].sort(), [401, 429]);
    assert.ok(seen.get(401)! < 1_000, `${seen.get(401)} guesses were looked at`);
    assert.ok(Number(retryAfter) >= 1);
    // One more is looked at each second: of many at once most are not.
    const api = await Promise.all(
      Array.from({ length: 30 }, () =>
        fetch(`${rig.castellan.url}/api/v1/whoami`, {
          headers: { authorization: `Bearer ${mintCredential('pat')}` },
        }),
      ),
    );
    const refused = api.find(({ status }) => status === 429);
    assert.ok(Number(refused?.headers.get('retry-after')) >= 1);
    await eventually('a token that was good goes on', async () => {
      return refusalIn(await call(agent, 'legacy__echo', { text: 'x' })) === undefined;
    });
    assert.equal((await run('get', 'projects')).code, 0);
  });
});
