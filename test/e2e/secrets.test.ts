import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { temporaryFolder } from '../support/databases.ts';
import { runCli, startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { idOf, ScriptedUpstream, sendJson } from '../support/scripted-upstream.ts';

const open = '${';
const VALUE = 'correct-horse-battery';

let castellan: TestCastellan;
let folder: string;
before(async () => {
  castellan = await startCastellan();
  folder = await temporaryFolder();
});
after(() => castellan[Symbol.asyncDispose]());

async function cli(args: string[], options: { env?: Record<string, string>; input?: string } = {}) {
  const result = await runCli([...args, '--data-dir', castellan.dataDir], options);
  for (const shown of [result.stdout, result.stderr]) assert.ok(!shown.includes(VALUE), shown);
  return result;
}
async function passes(args: string[], options: { env?: Record<string, string>; input?: string } = {}) {
  const { code, stdout, stderr } = await cli(args, options);
  assert.equal(code, 0, stderr);
  return stdout;
}
async function fails(args: string[], code: number, message: RegExp, env: Record<string, string> = {}) {
  const result = await cli(args, { env });
  assert.match(result.stderr, message);
  assert.equal(result.code, code);
}

describe('create secret', () => {
  test('from stdin, a file, a variable and a literal', async () => {
    const file = path.join(folder, 'value');
    await writeFile(file, `${VALUE}\n`);
    const from = [
      '--from-file',
      'a=-',
      '--from-file',
      `b=${file}`,
      '--from-env',
      'c=V',
      '--from-literal',
      'd=x=y',
    ];
    const made = await passes(['create', 'secret', 'all', ...from], {
      env: { V: VALUE },
      input: `${VALUE}\n`,
    });
    assert.equal(made, 'secret/all created\n');
    assert.match(await passes(['get', 'secrets']), /all +a,b,c,d/);
    for (const args of [
      ['get', 'secret', 'all', '-o', 'yaml'],
      ['describe', 'secret', 'all'],
      ['get', 'secrets', '-o', 'json'],
    ])
      assert.match(await passes(args), /keys/);
    const shown = await passes(['get', 'secret', 'all', '-o', 'yaml']);
    assert.match(await passes(['apply', '-f', '-'], { input: shown }), /secret\/all unchanged/);
  });

  test('replaces only when told to, and says what is wrong with a flag', async () => {
    await passes(['create', 'secret', 'once', '--from-literal', 'k=one']);
    await fails(['create', 'secret', 'once', '--from-literal', 'k=two'], 1, /once/);
    await passes(['create', 'secret', 'once', '--from-literal', 'l=two', '--force']);
    assert.match(await passes(['get', 'secret', 'once']), /once +l /);
    const bad: [string[], RegExp][] = [
      [[], /give at least one of --from-file/],
      [['--from-literal', VALUE], /--from-literal: write KEY=…/],
      [['--from-literal', `a b=${VALUE}`], /the key before "=" is no valid key/],
      [['--from-literal', 'k='], /--from-literal k=…: the value is empty/],
      [['--from-literal', 'k=x', '--from-env', 'k=HOME'], /the key is given twice/],
      [['--from-env', 'k=NOT_SET_HERE'], /variable NOT_SET_HERE is not set/],
      [['--from-env', 'k=CASTELLAN_MASTER_KEY'], /Castellan's own and never becomes a secret/],
      [['--from-file', 'k=-', '--from-file', 'l=-'], /stdin is read once/],
    ];
    for (const [flags, message] of bad)
      await fails(['create', 'secret', 'bad', ...flags], 64, message, { CASTELLAN_MASTER_KEY: VALUE });
  });

  test('apply takes values from its environment, never from our own variables', async () => {
    const input = `kind: Secret\nmetadata: { name: applied }\nspec: { data: { k: "${open}V}" } }\n`;
    assert.match(await passes(['apply', '-f', '-'], { input, env: { V: VALUE } }), /secret\/applied created/);
    const own = input.replace('V}', 'CASTELLAN_MASTER_KEY}');
    const refused = await cli(['apply', '-f', '-'], { input: own, env: { CASTELLAN_MASTER_KEY: VALUE } });
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /CASTELLAN_MASTER_KEY is Castellan's own and never expands/);
  });
});

describe('a server that uses a secret', () => {
  test('is given the value, and what it says of it is hidden', async () => {
    await passes(['create', 'secret', 'told', '--from-file', 'k=-'], { input: VALUE });
    const script = 'console.error("given " + process.env.PLAIN + " and " + process.argv[1]); process.exit(3)';
    const spec = {
      command: process.execPath,
      args: ['-e', script, `${open}secret:told.k}`],
      env: { PLAIN: `${open}secret:told.k}` },
    };
    const input = JSON.stringify({ kind: 'Server', metadata: { name: 'teller' }, spec });
    await passes(['apply', '-f', '-'], { input });
    const connected = await cli(['mcp', 'connect', 'teller']);
    assert.match(connected.stderr, /its last line: given \$\{secret:told\.k\} and \$\{secret:told\.k\}/);
    const described = await passes(['describe', 'server', 'teller']);
    assert.match(described, /\| given \$\{secret:told\.k\} and \$\{secret:told\.k\}/);
    assert.match(await passes(['mcp', 'list', '--resolve']), /\$\{secret:told\.k\}/);
    assert.match(await passes(['mcp', 'status', '-o', 'json']), /teller/);
  });

  test('proves itself with it, and what the other side says of it is hidden', async () => {
    await passes(['create', 'secret', 'vendor', '--from-file', 'k=-'], { input: VALUE });
    const saysIt = (id: unknown, given: string) => ({
      jsonrpc: '2.0',
      id,
      error: { code: -32000, message: `not with ${given}` },
    });
    await using upstream = await ScriptedUpstream.start((seen, response) =>
      sendJson(response, saysIt(idOf(seen), String(seen.headers.authorization)), 500),
    );
    const password = `${open}secret:vendor.k}`;
    const auths = {
      bearer: { type: 'bearer', token: password },
      basic: { type: 'basic', username: 'ann', password },
    };
    for (const [name, auth] of Object.entries(auths)) {
      const spec = { url: upstream.url, auth, protocol: '2025-11-25' };
      await passes(['apply', '-f', '-'], {
        input: JSON.stringify({ kind: 'Server', metadata: { name }, spec }),
      });
      const { stderr } = await cli(['mcp', 'connect', name]);
      const pair = Buffer.from(`ann:${VALUE}`).toString('base64');
      assert.ok(!stderr.includes(pair), stderr);
      const sent = upstream.requests.at(-1)?.headers.authorization;
      assert.equal(sent, name === 'basic' ? `Basic ${pair}` : `Bearer ${VALUE}`);
    }
    const described = await passes(['get', 'server', 'bearer', '-o', 'yaml']);
    assert.match(described, /token: .*secret:vendor\.k/);
  });

  test('is in error alone when the secret is missing', async () => {
    const spec = { url: 'http://127.0.0.1:9/mcp', headers: { 'X-Key': `${open}secret:absent.k}` } };
    await passes(['apply', '-f', '-'], {
      input: JSON.stringify({ kind: 'Server', metadata: { name: 'lacking' }, spec }),
    });
    const listed = await passes(['mcp', 'list']);
    assert.match(
      listed,
      /✗ lacking: spec\.headers\.X-Key: there is no secret absent: create it, with a key k/,
    );
    assert.match(listed, /^memory/m);
    await passes(['create', 'secret', 'absent', '--from-literal', 'k=now']);
    assert.doesNotMatch(await passes(['mcp', 'list']), /✗ lacking/);
  });
});

describe('secret rotate-key', () => {
  test('seals anew under a key that the next start has too', async () => {
    const done = JSON.parse(await passes(['secret', 'rotate-key', '-o', 'json']));
    assert.equal(done.keys, 2);
    assert.ok(done.resealed >= 4);
    assert.match(
      await passes(['secret', 'rotate-key', '--retire-old', '0s']),
      new RegExp(`seals now; ${done.resealed} values sealed anew, 2 keys forgotten, 1 open`),
    );
    await fails(
      ['secret', 'rotate-key', '--retire-old', 'soon'],
      1,
      /retireOld: is no valid value: write a number/,
    );
    const { dataDir } = castellan;
    await castellan.stop();
    await using again = await startCastellan([], { dataDir });
    const { stdout } = await again.cli('mcp', 'list');
    assert.match(stdout, /^teller/m);
    assert.doesNotMatch(stdout, /✗/);
  });
});
