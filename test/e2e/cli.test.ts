import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type CliResult, runCli, startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const QUICKSTART = 'examples/quickstart.yaml';

let folder = '';
let castellan: TestCastellan;
/** A second layer that the tests may change. */
let extraFile = '';

const EXTRA = `
kind: Server
metadata: { name: broken }
spec: { command: node, args: ["\${SURELY_UNSET}"] }
---
kind: Server
metadata: { name: remote }
spec: { url: "http://127.0.0.1:9/mcp", headers: { x-home: "\${TEST_HOME}" } }
---
kind: Project
metadata: { name: other }
spec: { servers: [broken, remote], operatorServers: [memory] }
`;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'castellan-cli-'));
  extraFile = path.join(folder, 'extra.yaml');
  await writeFile(extraFile, EXTRA);
  castellan = await startCastellan(['--config', QUICKSTART, '--config', extraFile], {
    env: { TEST_HOME: 'value-of-a-variable' },
  });
});

after(async () => {
  await castellan[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** The command line on the server's data directory, with stdin and environment. */
function cli(args: readonly string[], more: { input?: string; env?: Record<string, string> } = {}) {
  const env = { NO_COLOR: '1', CASTELLAN_TOKEN: '', ...more.env };
  return runCli([...args, '--data-dir', castellan.dataDir], { ...more, env });
}

async function passes(args: readonly string[], input?: string): Promise<string> {
  const result = await cli(args, input === undefined ? {} : { input });
  assert.equal(result.code, 0, `${args.join(' ')}: ${result.stderr}`);
  return result.stdout;
}

async function fails(
  args: readonly string[],
  code: number,
  said: RegExp,
  input?: string,
): Promise<CliResult> {
  const result = await cli(args, input === undefined ? {} : { input });
  assert.equal(result.code, code, `${args.join(' ')}: ${result.stdout}${result.stderr}`);
  assert.match(result.stderr, said);
  return result;
}

describe('get and describe', () => {
  test('singular, plural, alias, KIND/NAME and id all mean the same', async () => {
    const object = JSON.parse(await passes(['get', 'server', 'memory', '-o', 'json']));
    assert.equal(object.metadata.name, 'memory');
    for (const args of [['servers', 'memory'], ['srv/memory'], ['Server', object.metadata.uid]]) {
      assert.deepEqual(JSON.parse(await passes(['get', ...args, '-o', 'json'])), object);
    }
  });

  test('each format', async () => {
    const names = (await passes(['get', 'servers', '-o', 'name'])).trim().split('\n');
    assert.deepEqual(
      names,
      ['approvals', 'broken', 'everything', 'filesystem', 'memory', 'remote', 'review', 'tickets'].map(
        (name) => `server/${name}`,
      ),
    );
    const { items } = JSON.parse(await passes(['get', 'proj', '-o', 'json']));
    assert.deepEqual(
      items.map((item: { metadata: { name: string } }) => item.metadata.name),
      ['demo', 'other'],
    );
    assert.match(
      await passes(['get', 'servers']),
      /^NAME +TYPE +TARGET +MANAGED-BY +AGE\napprovals .*\nbroken +stdio +node \$\{SURELY_UNSET\}/,
    );
    assert.match(await passes(['get', 'servers', '-o', 'wide']), / ID\n.* srv_\w+/);
    assert.match(
      await passes(['-o', 'yaml', 'get', 'servers', 'memory']),
      /^apiVersion: castellan\/v1\nkind: Server\n/,
    );
  });

  test('what does not exist', async () => {
    await fails(
      ['get', 'server', 'nope'],
      1,
      /there is no server nope; there are approvals, broken, everything/,
    );
    await fails(['get', 'serverz'], 64, /unknown kind "serverz": did you mean Server\?/);
    await fails(['get', 'servers', '-o', 'xml'], 64, /--output.*table, wide, json, yaml, name/);
    await fails(['gett', 'servers'], 64, /unknown command 'gett'[\s\S]*Did you mean get/);
  });

  test('live tools of each surface', async () => {
    const { items } = JSON.parse(
      await passes(['get', 'tools', '-p', 'demo', '--surface', 'consumer', '-o', 'json']),
    );
    const echo = items.find((tool: { canonical: string }) => tool.canonical === 'everything__echo');
    assert.deepEqual([echo.server, echo.surface], ['everything', 'consumer']);
    assert.match(echo.fingerprint, /^[0-9a-f]{64}$/);
    const operator = await passes(['get', 'tools', '-p', 'other', '--surface', 'operator', '-o', 'name']);
    assert.match(operator, /^tool\/memory__create_entities$/m);
    const partly = await cli(['get', 'tools', '-p', 'other']);
    assert.equal(partly.code, 0);
    assert.match(partly.stderr, /warning: broken: .*SURELY_UNSET/);
    await fails(['get', 'tools'], 64, /-p PROJECT is missing: there are demo, other/);
    await fails(['get', 'tools', '-p', 'nope'], 1, /there is no project nope/);
    await fails(['get', 'tools', 'nope', '-p', 'demo'], 1, /no such tool in project demo: nope/);
  });

  test('describe shows state and stderr of a server', async () => {
    await passes(['mcp', 'connect', 'everything']);
    const text = await passes(['describe', 'server', 'everything']);
    assert.match(text, /state: connected/);
    assert.match(text, /stderr:\n {2}\| Starting default \(STDIO\) server/);
    await fails(['describe', 'server'], 64, /name the server/);
  });
});

describe('mcp', () => {
  test('doctor connects to each, and names what is wrong with the others', async () => {
    const { code, stdout } = await cli(['mcp', 'doctor', '-o', 'json']);
    assert.equal(code, 1);
    const { checks } = JSON.parse(stdout) as { checks: { check: string; status: string; message: string }[] };
    const of = (name: string) => checks.find(({ check }) => check === name)!;
    assert.match(of('memory').message, /^memory connected: .*, \d+ tools/);
    assert.equal(of('broken').status, 'fail');
    assert.match(of('broken').message, /SURELY_UNSET/);
    assert.match(
      (await cli(['mcp', 'doctor'])).stdout,
      /^✓ approvals .*\n✗ broken +\S.*\n✓ everything +everything connected/,
    );
  });

  test('list says why a server is broken, and keeps placeholders as written', async () => {
    const text = await passes(['mcp', 'list']);
    assert.match(text, /^✗ broken: .*extra\.yaml:4: spec\.args\[0\]: variable SURELY_UNSET is not set/m);
    assert.doesNotMatch(text, /value-of-a-variable/);
  });

  test('list --resolve is pure JSON with a warning beside it', async () => {
    const result = await cli(['mcp', 'list', '--resolve']);
    const { items } = JSON.parse(result.stdout) as { items: { name: string; spec: { headers?: object } }[] };
    const remote = items.find((item) => item.name === 'remote');
    assert.deepEqual(remote?.spec.headers, { 'x-home': 'value-of-a-variable' });
    assert.match(result.stderr, /warning: .*secret/);
  });

  test('status and connect', async () => {
    assert.match(
      await passes(['mcp', 'connect', 'memory']),
      /^memory connected: 2025-11-25, \d+ tools \(\d+ ms\)$/m,
    );
    const { items } = JSON.parse(await passes(['mcp', 'status', '-o', 'json']));
    const states = Object.fromEntries(
      items.map((one: { name: string; state: string }) => [one.name, one.state]),
    );
    assert.equal(states.memory, 'connected');
    assert.equal(states.broken, 'broken');
    await fails(['mcp', 'connect', 'nope'], 1, /there is no server nope/);
    assert.notEqual((await cli(['mcp', 'connect', 'remote'])).code, 0);
    const bare = await runCli(['mcp']);
    assert.deepEqual([bare.code, /Usage: castellan mcp/.test(bare.stderr)], [64, true]);
  });
});

describe('tokens', () => {
  const create = (...args: string[]) => ['create', 'mcptoken', ...args];

  test('the raw token alone is on stdout, and a bare token is warned about', async () => {
    const made = await cli(create('plain', '-p', 'demo'));
    assert.match(made.stdout, /^cst_pat_\w{49}\n$/);
    assert.match(made.stderr, /warning: plain starts without rights.*--rbac clone/);
    const cloned = await cli(create('cloned', '-p', 'demo', '--rbac', 'clone'));
    assert.equal(cloned.stderr, '');
  });

  test('a name is taken until its token ends', async () => {
    await passes(create('once', '-p', 'demo', '--rbac', 'clone'));
    await fails(create('once', '-p', 'demo'), 1, /already exists in project demo; use --force/);
    await passes(create('once', '-p', 'demo', '--rbac', 'clone', '--force'));
    assert.equal(await passes(['revoke', 'mcptoken', 'once', '-p', 'demo']), 'mcptoken/once revoked\n');
    await passes(create('once', '-p', 'demo', '--rbac', 'clone'));
    const table = await passes(['get', 'mcptokens', '-p', 'demo']);
    assert.match(table, /^NAME +PROJECT +PREFIX +CREATED +LAST-USED +EXPIRES +STATUS$/m);
    assert.equal(table.match(/^once /gm)?.length, 3);
    assert.equal(await passes(['delete', 'token', 'once', '-p', 'demo']), 'mcptoken/once deleted\n');
    await fails(['delete', 'token', 'once', '-p', 'demo'], 1, /there is no token once/);
  });

  test('a token works where it belongs, until it is revoked', async () => {
    const raw = (await passes(create('agent', '-p', 'demo', '--rbac', 'clone', '--ttl', '1h'))).trim();
    const endpoint = `${castellan.url}/projects/demo/mcp`;
    const env = { CASTELLAN_TOKEN: raw };
    const testMcp = (...args: string[]) => runCli(['test', 'mcp', ...args], { env });
    assert.equal((await testMcp(endpoint, '--expect-tools', 'everything__echo')).code, 0);
    assert.equal((await testMcp(endpoint, '--expect-tools', 'nope')).code, 2);
    assert.equal((await testMcp(endpoint, '--tool', 'everything__get-sum', '--args', '{"a":"x"}')).code, 2);
    const foreign = await testMcp(`${castellan.url}/projects/other/mcp`);
    assert.equal(foreign.code, 1);
    assert.match(foreign.stderr, /403/);
    const operator = await testMcp(`${castellan.url}/projects/demo/operator-mcp`);
    assert.match(operator.stderr, /403/);
    const called = await runCli(['call', 'everything__echo', '{"message":"m"}', '--server', castellan.url], {
      env,
    });
    assert.equal(called.stdout, 'Echo: m\n', called.stderr);
    const managed = await runCli(['get', 'servers', '--server', castellan.url], { env });
    assert.equal(managed.code, 77, managed.stderr);
    await passes(['revoke', 'token/agent', '-p', 'demo']);
    const revoked = await testMcp(endpoint);
    assert.equal(revoked.code, 1);
    assert.match(revoked.stderr, /401/);
  });

  test('who acts as nobody is told so, and can-i takes the name either way', async () => {
    await fails(['whoami', '--as', 'foo'], 64, /--as "foo" names nobody: write User:EMAIL/);
    await fails(
      ['whoami', '--as', 'User:gone@example.com'],
      77,
      /as: "User:gone@example.com" is no active user/,
    );
    await fails(['create', 'group', 'g', '--as', 'User:gone@example.com'], 77, /is no active user/);
    await fails(['whoami', '--as', 'McpToken:gone'], 77, /no active token of that id/);
    const canI = (...what: string[]) => passes(['auth', 'can-i', 'edit', ...what, '-o', 'json']);
    assert.equal(await canI('servers/memory'), await canI('servers', 'memory'));
    await fails(['auth', 'can-i', 'edit', 'servers/memory', 'x'], 64, /names it already: leave out x/);
    await fails(['auth', 'can-i', 'edit', 'servers/'], 64, /is no RESOURCE\/NAME/);
  });

  test('every wrong flag is named', async () => {
    await fails(create('x', '-p', 'nope'), 1, /there is no project nope; there are demo, other/);
    await fails(create('x'), 64, /-p PROJECT is missing/);
    await fails(create('x', '-p', 'demo', '--ttl', 'soon'), 64, /--ttl: "soon"/);
    await fails(create('x', '-p', 'demo', '--surface', 'both'), 64, /--surface "both" is unknown/);
    await fails(create('x', '-p', 'demo', '--bind', 'roles:run'), 64, /--bind: unknown key "roles"/);
    await fails(
      create('x', '-p', 'demo', '--bind', 'role:run,resource:tools,action:logs'),
      64,
      /--bind: action stands alone/,
    );
    await fails(create('x', '-p', 'demo', '--rbac', 'all'), 64, /--rbac.*empty, clone/);
    await fails(create('not a name', '-p', 'demo'), 64, /name: "not a name" is no token name/);
    await fails(create('introspect', '-p', 'demo'), 64, /name: "introspect" is reserved/);
    await fails(create(), 64, /missing required argument 'name'/);
    await fails(['revoke', 'server', 'memory'], 64, /only tokens can be revoked/);
    const made = JSON.parse(await passes(create('whole', '-p', 'demo', '-o', 'json')));
    const turned = JSON.parse(await passes(['rotate', 'mcptoken', 'whole', '-p', 'demo', '-o', 'json']));
    for (const { object, token } of [made, turned]) {
      assert.equal(object.metadata.name, 'whole');
      assert.match(token, /^cst_pat_/);
    }
    assert.notEqual(made.token, turned.token);
    const rotate = ['rotate', 'mcptoken', 'x', '-p', 'demo', '--overlap'];
    await fails([...rotate, 'never'], 64, /--overlap: .*write a time such as 1h/);
  });
});

describe('apply and delete', () => {
  const objects = (command: string) => `
kind: Project
metadata: { name: made }
spec: { servers: [one] }
---
kind: McpToken
metadata: { name: helper, project: made }
spec: { rbac: clone, ttl: 30d }
---
kind: Server
metadata: { name: one }
spec: { command: ${command} }
`;

  test('creates in order, prints a token once, and is idempotent', async () => {
    const planned = await passes(['apply', '-f', '-', '--dry-run'], objects('node'));
    assert.equal(
      planned,
      'server/one created (dry run)\nproject/made created (dry run)\nmcptoken/helper created (dry run)\n',
    );
    await fails(['get', 'project', 'made'], 1, /there is no project made/);
    const first = await passes(['apply', '-f', '-'], objects('node'));
    assert.match(
      first,
      /^server\/one created\nproject\/made created\nmcptoken\/helper created\nhelper\tcst_pat_\w{49}\n$/,
    );
    const again = await passes(['apply', '-f', '-'], objects('node'));
    assert.equal(
      again,
      'server/one unchanged\nproject/made unchanged\nmcptoken/helper already active, skipped\n',
    );
    assert.match(await passes(['apply', '-f', '-'], objects('deno')), /^server\/one configured$/m);
    const yaml = await passes(['get', 'server', 'one', '-o', 'yaml']);
    assert.equal(await passes(['apply', '-f', '-'], yaml), 'server/one unchanged\n');
    await fails(['delete', 'server', 'one'], 1, /server one is used by project made/);
    await passes(['delete', 'project', 'made']);
    assert.doesNotMatch(await passes(['get', 'tokens', '-o', 'name']), /helper/);
    assert.equal(await passes(['delete', 'srv/one']), 'server/one deleted\n');
  });

  test('new tokens go to a file of their own when asked', async () => {
    const file = path.join(folder, 'tokens.tsv');
    const text = 'kind: McpToken\nmetadata: { name: filed, project: demo }\nspec: { rbac: clone }\n';
    assert.equal(await passes(['apply', '-f', '-', '--tokens-out', file], text), 'mcptoken/filed created\n');
    assert.match(await readFile(file, 'utf8'), /^filed\tcst_pat_\w{49}\n$/);
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    await fails(['apply', '-f', '-', '--tokens-out', file], 1, /exists already/, text);
    const unused = path.join(folder, 'unused.tsv');
    await passes(['apply', '-f', '-', '--tokens-out', unused], text);
    await assert.rejects(stat(unused), { code: 'ENOENT' });
  });

  test('variables come from the command, and an unset one spoils its own server alone', async () => {
    const variable = (name: string) => `\${${name}}`;
    const server = (name: string, arg: string) =>
      `kind: Server\nmetadata: { name: ${name} }\nspec: { command: node, args: ["${arg}"] }\n`;
    const text = [server('good', variable('FROM_HERE')), server('bad', variable('SURELY_UNSET'))].join(
      '---\n',
    );
    const result = await cli(['apply', '-f', '-'], { input: text, env: { FROM_HERE: 'here' } });
    assert.equal(result.code, 1);
    assert.equal(result.stdout, 'server/good created\n');
    assert.match(result.stderr, /stdin:7: spec\.args\[0\]: variable SURELY_UNSET is not set/);
    assert.match(await passes(['get', 'server', 'good']), /node here/);
    await passes(['delete', 'server', 'good']);
  });

  test('a broken file changes nothing and says where', async () => {
    await fails(
      ['apply', '-f', '-'],
      1,
      /nothing was applied:\nstdin:1: kind: .*did you mean Server/,
      'kind: Servr\nmetadata: { name: x }\n',
    );
    await fails(['apply', '-f', path.join(folder, 'none.yaml')], 1, /none\.yaml cannot be read/);
    await fails(['apply'], 64, /required option '-f, --filename <file>'/);
  });

  test('what a file owns is changed in the file', async () => {
    await fails(['delete', 'server', 'memory'], 1, /belongs to file .*quickstart\.yaml/);
    const text = 'kind: Server\nmetadata: { name: memory }\nspec: { command: node }\n';
    await fails(['apply', '-f', '-'], 1, /belongs to file .*quickstart\.yaml/, text);
    await writeFile(
      extraFile,
      `${EXTRA}---\nkind: Server\nmetadata: { name: later }\nspec: { command: node }\n`,
    );
    assert.match(await passes(['reload']), /^read 2 files: 9 servers, 2 projects$/m);
    await writeFile(extraFile, 'kind: [');
    await fails(['reload'], 1, /kept the last good configuration: .*extra\.yaml:1/);
    assert.match(await passes(['get', 'server', 'later', '-o', 'name']), /server\/later/);
    await writeFile(extraFile, EXTRA);
    await passes(['reload']);
    await fails(['get', 'server', 'later'], 1, /there is no server later/);
  });
});

describe('call', () => {
  test('finds the surface, and says 2 for the tool and 1 for the rest', async () => {
    assert.equal(await passes(['call', 'everything__echo', '{"message":"hi"}', '-p', 'demo']), 'Echo: hi\n');
    assert.equal(
      await passes(['call', 'everything__echo', '-', '-p', 'demo'], '{"message":"in"}'),
      'Echo: in\n',
    );
    const result = JSON.parse(await passes(['call', 'memory__read_graph', '-p', 'other', '-o', 'json']));
    assert.deepEqual(result.structuredContent, { entities: [], relations: [] });
    const refused = await cli(['call', 'everything__get-sum', '{"a":"x"}', '-p', 'demo']);
    assert.equal(refused.code, 2);
    assert.match(refused.stdout, /Invalid arguments/);
    await fails(
      ['call', 'everything__ecko', '-p', 'demo'],
      1,
      /has no tool everything__ecko: did you mean everything__echo/,
    );
    await fails(['call', 'x', '{', '-p', 'demo'], 64, /no valid JSON/);
    await fails(['call', 'x', '[]', '-p', 'demo'], 64, /must be a JSON object/);
    await fails(['call', 'everything__echo', '-p', 'demo', '--surface', 'operator'], 1, /has no tool/);
  });
});

describe('finding the server', () => {
  test('none runs', async () => {
    const args = ['get', 'servers', '--data-dir', path.join(folder, 'nothing')];
    const result = await runCli(args);
    assert.equal(result.code, 69);
    assert.match(result.stderr, /no castellan runs on .*castellan serve/);
    const unreachable = await runCli(['get', 'servers', '--server', 'http://127.0.0.1:9'], {
      env: { CASTELLAN_TOKEN: 'x' },
    });
    assert.equal(unreachable.code, 69);
  });

  test('the local credential goes to its own server alone', async () => {
    assert.match(await passes(['get', 'servers', '--server', castellan.url, '-o', 'name']), /server\/memory/);
    await fails(
      ['get', 'servers', '--server', 'http://127.0.0.1:9'],
      77,
      /no credential for http:\/\/127\.0\.0\.1:9/,
    );
    await fails(['get', 'servers', '--server', 'here'], 64, /--server "here" is not an http/);
  });

  test('version', async () => {
    const { client, server } = JSON.parse(await passes(['version', '-o', 'json']));
    assert.equal(client.version, server.version);
    assert.equal(server.url, castellan.url);
    assert.equal((await runCli(['--version'])).stdout.trim(), client.version);
  });

  test('help of every verb names its options', async () => {
    const help = (await runCli(['--help'])).stdout;
    const verbs = [...help.matchAll(/^ {2}([a-z]+) {2,}/gm)]
      .map(([, verb]) => verb!)
      .filter((verb) => verb !== 'help');
    assert.ok(verbs.length >= 12, help);
    for (const verb of verbs) {
      const { code, stdout } = await runCli([verb, '--help']);
      assert.equal(code, 0);
      assert.match(stdout, new RegExp(`^Usage: castellan ${verb}`));
    }
  });
});
