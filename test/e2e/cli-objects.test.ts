import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { KINDS } from '../../src/resources/kinds.ts';
import { type CliResult, runCli, startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const GOLDEN = 'test/golden/yaml';

let folder = '';
let castellan: TestCastellan;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'castellan-objects-'));
  castellan = await startCastellan([]);
});

after(async () => {
  await castellan[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

function cli(args: readonly string[], input = '', env: Record<string, string> = {}): Promise<CliResult> {
  return runCli([...args, '--data-dir', castellan.dataDir], {
    input,
    env: { NO_COLOR: '1', CASTELLAN_TOKEN: '', ...env },
  });
}

async function passes(args: readonly string[], input = ''): Promise<string> {
  const result = await cli(args, input);
  assert.equal(result.code, 0, `${args.join(' ')}: ${result.stdout}${result.stderr}`);
  return result.stdout;
}

async function fails(args: readonly string[], code: number, said: RegExp, input = ''): Promise<CliResult> {
  const result = await cli(args, input);
  assert.equal(result.code, code, `${args.join(' ')}: ${result.stdout}${result.stderr}`);
  assert.match(result.stderr, said);
  return result;
}

const server = (name: string, labels: string, command = 'node') =>
  `kind: Server\nmetadata: { name: ${name}, labels: {${labels}} }\nspec: { command: ${command} }\n`;

describe('every published shape', () => {
  test('there is one file of each kind and variant', async () => {
    const files = await readdir(GOLDEN);
    for (const { singular } of KINDS) {
      assert.ok(
        files.some((file) => file.startsWith(singular)),
        `${GOLDEN} has no ${singular}`,
      );
    }
    assert.ok(['server-stdio.yaml', 'server-http.yaml'].every((file) => files.includes(file)));
  });

  test('is applied, printed and taken back unchanged', async () => {
    const planned = await cli(['apply', '-f', GOLDEN, '--dry-run']);
    assert.equal(planned.code, 0, planned.stderr);
    const first = await cli(['apply', '-f', GOLDEN]);
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stderr, /^17 created, 0 configured, 0 unchanged$/m);
    const labels = first.stdout.match(/^\S+(?= created$)/gm) ?? [];
    assert.equal(labels.length, 17, first.stdout);
    assert.match(planned.stderr, /^17 created, 0 configured, 0 unchanged \(dry run\)$/m);
    for (const label of labels) {
      const yaml = await passes(['get', label, '-o', 'yaml']);
      assert.doesNotMatch(yaml, /uid|resourceVersion|createdAt|managedBy|status|only-for-this-test/, label);
      const again = await passes(['apply', '-f', '-'], yaml);
      assert.match(again, / unchanged$| already active, skipped$/m, label);
      const shown = await cli(['diff', '-f', '-'], yaml);
      assert.deepEqual([shown.code, shown.stdout], [0, ''], `${label}: ${shown.stderr}`);
    }
    const all = await passes(['get', KINDS.map((one) => one.plural).join(','), '-o', 'yaml']);
    const whole = await cli(['apply', '-f', '-'], all);
    assert.match(whole.stderr, /^0 created, 0 configured, \d+ unchanged$/m, whole.stdout);
  });

  test('is applied a second time without a change, values of secrets excepted', async () => {
    const again = await cli(['apply', '-f', GOLDEN]);
    assert.match(again.stderr, /^0 created, 1 configured, 16 unchanged$/m, again.stdout);
    assert.match(again.stdout, /^secret\/golden-secret configured$/m);
    assert.equal((await cli(['diff', '-f', GOLDEN])).code, 0);
  });

  test('is deleted by the same files, what names others first', async () => {
    const planned = await passes(['delete', '-f', GOLDEN, '--dry-run']).catch(
      (error: Error) => error.message,
    );
    assert.match(planned, /Golden.Agent deleted \(dry run\)/);
    const deleted = await passes(['delete', '-f', GOLDEN]);
    assert.equal(deleted.match(/ deleted$/gm)?.length, 17, deleted);
    assert.equal(await passes(['get', 'servers', '-o', 'name']), '');
  });
});

describe('creating from flags', () => {
  const specOf = async (...target: string[]) =>
    JSON.parse(await passes(['get', ...target, '-o', 'json'])).spec as unknown;

  test('makes a server, a project and a policy like those of a file', async () => {
    const tools = [
      '--allow',
      'get_*',
      '--deny',
      'get_x',
      '--read-only',
      'get_*',
      '--override',
      '{get_a: {name: a}}',
    ];
    const run = ['--command', 'npx', '--arg', '-y', '--arg', 'pkg', '--env', 'A=b=c', '--call-timeout', '5s'];
    await passes(['create', 'server', 'made', ...run, ...tools, '--health-check', '{failures: 2}']);
    assert.deepEqual(await specOf('server', 'made'), {
      command: 'npx',
      args: ['-y', 'pkg'],
      env: { A: 'b=c' },
      tools: { allow: ['get_*'], deny: ['get_x'], readOnly: ['get_*'], override: { get_a: { name: 'a' } } },
      lifecycle: { callTimeout: '5s' },
      healthCheck: { failures: 2 },
    });
    const web = ['create', 'server', 'made-web', '--url', 'https://example.com/mcp', '--header', 'X-A=b'];
    assert.equal(await passes([...web, '--dry-run']), 'server/made-web created (dry run)\n');
    await passes(web);
    const shape = [
      '--servers',
      'made,made-web',
      '--default-action',
      'deny',
      '--limits',
      '{user: {calls: 5}}',
    ];
    await passes(['create', 'project', 'made', ...shape]);
    assert.deepEqual(await specOf('project', 'made'), {
      servers: ['made', 'made-web'],
      defaultAction: 'deny',
      limits: { user: { calls: 5 } },
    });
    const rules = [
      '--rule',
      '{tools: ["a__*"], action: deny, reason: no}',
      '--rule',
      '{tools: ["*"], action: allow}',
    ];
    await passes(['create', 'policy', 'made', '--projects', '*', ...rules]);
    assert.deepEqual(await specOf('policy', 'made'), {
      projects: ['*'],
      rules: [
        { tools: ['a__*'], action: 'deny', reason: 'no' },
        { tools: ['*'], action: 'allow' },
      ],
    });
    await passes(['delete', 'policy/made', 'project/made', 'server/made', 'server/made-web']);
  });

  test('changes nothing that exists, and says which flag or field is wrong', async () => {
    const twice = ['create', 'project', 'twice'];
    await passes(twice);
    await fails(twice, 1, /project twice exists already/);
    await passes(['delete', 'project', 'twice']);
    const create = (...args: string[]) => ['create', ...args];
    await fails(create('server', 's'), 64, /spec: names no server: add command/);
    await fails(create('server', 's', '--url', 'nonsense'), 64, /spec\.url: is not an http or https URL/);
    await fails(create('server', 's', '--url', 'http://x/', '--cwd', '/'), 64, /spec\.cwd: .*remove it/);
    const header = await fails(
      create('server', 's', '--url', 'http://x/', '--header', 'hush'),
      64,
      /NAME=VALUE/,
    );
    assert.doesNotMatch(header.stderr, /hush/);
    await fails(
      create('server', 's', '--command', 'x', '--env', 'A=1', '--env', 'A=2'),
      64,
      /A=….*given twice/,
    );
    await fails(create('project', 'p2', '--limits', '{a'), 64, /--limits is neither YAML nor JSON/);
    await fails(create('project', 'p2', '--exposure', 'none'), 64, /spec\.exposure: must be one of/);
    await fails(create('policy', 'q'), 64, /spec\.projects: is missing/);
    await fails(
      create('policy', 'q', '--projects', '*', '--rule', '{tools: ["*"], action: deny, when: "1 +"}'),
      64,
      /spec\.rules\[0\]\.when: column/,
    );
  });
});

describe('picking', () => {
  before(async () => {
    const text = [server('red', 'team: red'), server('blue', 'team: blue'), server('bare', '')].join('---\n');
    await passes(
      ['apply', '-f', '-'],
      `${text}---\nkind: Project\nmetadata: { name: p }\nspec: { servers: [red] }\n`,
    );
  });

  test('by label, by field, by several kinds and names', async () => {
    const names = async (...args: string[]) =>
      (await passes(['get', ...args, '-o', 'name'])).trim().split('\n').join(' ');
    assert.equal(await names('servers', '-l', 'team'), 'server/blue server/red');
    assert.equal(await names('servers', '-l', 'team notin (red)'), 'server/bare server/blue');
    assert.equal(await names('projects', '--field-selector', 'spec.servers=red'), 'project/p');
    assert.equal(await names('servers,projects', '-l', '!team'), 'server/bare project/p');
    assert.equal(await names('server/red', 'project/p', 'server/blue'), 'server/red server/blue project/p');
    const table = await passes(['get', 'servers,projects']);
    assert.match(table, /^NAME +TYPE[\s\S]*\n\nNAME +SERVERS/);
    assert.match(await passes(['get', 'servers', '-o', 'wide']), / LABELS +ID\n/);
    const { items } = JSON.parse(await passes(['get', 'servers,projects', '-o', 'json']));
    assert.deepEqual(items.length, 4);
  });

  test('what cannot be meant is said', async () => {
    await fails(['get', 'servers', 'red', '-l', 'team'], 64, /leave out names/);
    await fails(['get', 'tools', '-l', 'team'], 64, /leave out names, tools/);
    await fails(['get', 'servers,tools'], 64, /tools are listed alone/);
    await fails(['get', 'servers,projects', 'red'], 64, /several kinds take no names/);
    await fails(['get', 'servers', '-l', 'a in b'], 64, /labelSelector: "a in b" is no requirement/);
    const selecting = (kind: string, by: string) => ['get', kind, '--field-selector', by];
    await fails(
      selecting('servers', 'spec.isolaton=user'),
      64,
      /isolaton is no field .*mean spec\.isolation/,
    );
    await fails(
      selecting('servers', 'spec.tools.alow=x'),
      64,
      /spec\.tools\.alow is no field of kind Server/,
    );
    await fails(selecting('servers', 'spec.isolation.x=y'), 64, /spec\.isolation\.x is no field/);
    await fails(
      selecting('mcptokens', 'status.stat=active'),
      64,
      /status\.stat is no field .*there is status, prefix/,
    );
    await fails(selecting('servers', 'metadata.nmae=x'), 64, /did you mean metadata\.name/);
    assert.equal(
      await passes(selecting('servers', 'spec.env.ANY=x,metadata.labels.any=x').concat('-o', 'name')),
      '',
    );
    await fails(['delete'], 64, /say what to delete/);
    await fails(['delete', 'servers'], 64, /name the server/);
    await fails(['delete', 'servers', 'red', '-l', 'team'], 64, /names or -l SELECTOR/);
    await fails(['delete', 'server/red', '-f', GOLDEN], 64, /say what to delete/);
    await fails(['edit', 'servers'], 64, /name one server/);
    await fails(['describe', 'tools'], 64, /name the tool/);
    await fails(['describe', 'sessions', 'x'], 64, /knows no sessions/);
    await fails(['accept', 'servers', 'x', '-y'], 64, /only tools are accepted/);
    await fails(['accept', 'tools', '-y'], 64, /name the tools, or write --all/);
    await fails(['accept', 'tool', 'x', '--fingerprint', 'zz'], 64, /8 to 64 digits/);
  });

  test('delete goes on after a refusal and says so', async () => {
    const result = await fails(
      ['delete', 'servers', 'red', 'blue', 'none'],
      1,
      /server\/none: there is no server none/,
    );
    assert.equal(result.stdout, 'server/blue deleted\n');
    assert.match(result.stderr, /server\/red: server red is used by project p/);
    assert.equal(await passes(['delete', 'servers', '-l', 'team=blue']), '');
    assert.equal(
      await passes(['delete', 'project/p', 'server/red']),
      'project/p deleted\nserver/red deleted\n',
    );
  });
});

describe('apply and diff', () => {
  test('a folder, several files and stdin, with a summary', async () => {
    await writeFile(path.join(folder, 'one.yaml'), server('one', ''));
    await writeFile(
      path.join(folder, 'two.json'),
      JSON.stringify({ kind: 'Server', metadata: { name: 'two' }, spec: { command: 'node' } }),
    );
    await writeFile(path.join(folder, 'notes.txt'), 'not yaml: [');
    const made = await cli(['apply', '-f', folder, '-f', '-'], server('three', ''));
    assert.equal(made.stdout, 'server/one created\nserver/two created\nserver/three created\n', made.stderr);
    assert.equal(made.stderr, '3 created, 0 configured, 0 unchanged\n');
    const changed = await cli(['apply', '-f', '-'], `${server('one', '', 'deno')}---\n${server('two', '')}`);
    assert.equal(changed.stderr, '0 created, 1 configured, 1 unchanged\n');
    await fails(['apply', '-f', '-', '-f', '-'], 64, /stdin is read once/);
    const empty = await mkdtemp(path.join(folder, 'empty-'));
    await fails(['apply', '-f', empty], 1, /holds no \.yaml/);
  });

  test('diff says what would change, and 2', async () => {
    const result = await cli(
      ['diff', '-f', '-'],
      `${server('one', 'team: red', 'bun')}---\n${server('four', '')}`,
    );
    assert.equal(result.code, 2, result.stderr);
    assert.match(result.stdout, /^--- live\/server\/one\n\+\+\+ stdin\/server\/one\n@@ /);
    assert.match(result.stdout, /^\+ {4}team: red$/m);
    assert.match(result.stdout, /^- {2}command: deno\n\+ {2}command: bun$/m);
    assert.match(result.stdout, /^@@ -0,0 \+1,\d+ @@\n\+apiVersion: castellan\/v1$/m);
    assert.match(await passes(['get', 'server', 'one']), /deno/, 'nothing was changed');
    const faulty = 'kind: Server\nmetadata: { name: one }\nspec: { comand: x }\n';
    await fails(['diff', '-f', '-'], 1, /nothing was compared:\nstdin:3: .*did you mean command/, faulty);
    const project = 'kind: Project\nmetadata: { name: p }\nspec: { servers: [nope] }\n';
    await fails(['diff', '-f', '-'], 1, /stdin:1: project\/p: .*there is no server nope/, project);
  });

  test('an object that names its version is changed in that version alone', async () => {
    const object = JSON.parse(await passes(['get', 'server', 'one', '-o', 'json']));
    await passes(['apply', '-f', '-'], server('one', '', 'node'));
    object.spec.command = 'python3';
    await fails(['apply', '-f', '-'], 1, /its resourceVersion is \d+, not \d+/, JSON.stringify(object));
  });
});

test('create server takes the arguments of its command after --', async () => {
  const where = ['--data-dir', castellan.dataDir];
  const args = ['create', 'server', 'dashed', ...where, '--command', 'npx', '--arg', 'a', '--', '-y', 'pkg'];
  const made = await runCli(args);
  assert.equal(made.stdout, 'server/dashed created\n', made.stderr);
  const { spec } = JSON.parse(await passes(['get', 'server', 'dashed', '-o', 'json']));
  assert.deepEqual(spec, { command: 'npx', args: ['a', '-y', 'pkg'] });
});

describe('edit', () => {
  let editor = '';
  /** Each line of the script sees the file as $1 and how often it ran as $n. */
  const edit = async (script: string, ...args: string[]) => {
    await writeFile(
      editor,
      `#!/bin/sh\nn=$(cat "$0.n" 2>/dev/null || echo 0); n=$((n+1)); echo $n > "$0.n"\ncp "$1" "$0.seen.$n"\n${script}\n`,
    );
    await chmod(editor, 0o700);
    return cli(['edit', ...args], '', { VISUAL: '', EDITOR: editor });
  };
  const seen = (time: number) => readFile(`${editor}.seen.${time}`, 'utf8');

  beforeEach(async () => {
    editor = path.join(await mkdtemp(path.join(folder, 'editor-')), 'editor');
    await passes(['apply', '-f', '-'], server('edited', 'team: red'));
  });

  test('what is saved is applied', async () => {
    const result = await edit('sed -i s/node/deno/ "$1"', 'server', 'edited');
    assert.deepEqual([result.code, result.stdout], [0, 'server/edited configured\n'], result.stderr);
    assert.match(await passes(['get', 'server', 'edited']), /deno/);
    assert.doesNotMatch(await seen(1), /uid|resourceVersion/);
  });

  test('nothing is changed by the same text, an empty one or a failing editor', async () => {
    for (const script of ['true', ': > "$1"']) {
      const result = await edit(script, 'server/edited');
      assert.deepEqual([result.code, result.stdout, result.stderr], [0, '', 'nothing was changed\n']);
    }
    const failed = await edit('exit 3', 'server', 'edited');
    assert.deepEqual([failed.code, /the editor .* failed/.test(failed.stderr)], [1, true]);
    assert.match(await passes(['get', 'server', 'edited']), /node/);
  });

  test('a fault comes back with its reason, and can be corrected or given up', async () => {
    const corrected = await edit(
      'if [ $n = 1 ]; then sed -i s/command/comand/ "$1"; else sed -i s/comand:.*/command:\\ bun/ "$1"; fi',
      'server',
      'edited',
    );
    assert.equal(corrected.code, 0, corrected.stderr);
    assert.match(await seen(2), /^# this file:\d+: spec\.comand: unknown key: did you mean command\?$/m);
    assert.match(await passes(['get', 'server', 'edited']), /bun/);
  });

  test('a fault that is saved again is given up', async () => {
    const given = await edit('sed -i s/command/comand/ "$1"', 'server', 'edited');
    assert.equal(given.code, 1);
    assert.match(given.stderr, /given up, nothing was changed: .*comand/);
  });

  test("somebody else's change is shown, and put over only by saving again", async () => {
    const other = `${process.execPath} bin/castellan apply -f "$0.other" --data-dir ${castellan.dataDir} >/dev/null`;
    await writeFile(`${editor}.other`, server('edited', 'team: blue'));
    const result = await edit(
      `if [ $n = 1 ]; then ${other}; sed -i s/node/deno/ "$1"; fi`,
      'server',
      'edited',
    );
    assert.equal(result.code, 0, result.stderr);
    assert.match(await seen(2), /^# somebody changed it meanwhile[\s\S]*^# -.*team: red\n# \+.*team: blue$/m);
    const { metadata, spec } = JSON.parse(await passes(['get', 'server', 'edited', '-o', 'json']));
    assert.deepEqual([metadata.labels, spec.command], [{ team: 'red' }, 'deno']);
  });
});

test('get -w prints what there is and then every change', async () => {
  await passes(['apply', '-f', '-'], server('watched', 'team: red'));
  const child = spawn(
    process.execPath,
    [
      'bin/castellan',
      'get',
      'servers',
      '-w',
      '-l',
      'team=red',
      '--field-selector',
      'metadata.name=watched',
      '--data-dir',
      castellan.dataDir,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let said = '';
  const until = async (pattern: RegExp) => {
    const deadline = Date.now() + 30_000;
    while (!pattern.test(said)) {
      assert.ok(Date.now() < deadline, `waited for ${pattern}, saw:\n${said}`);
      await once(child.stdout, 'data', { signal: AbortSignal.timeout(30_000) });
    }
  };
  child.stdout.on('data', (chunk) => {
    said += chunk;
  });
  try {
    await until(/^EVENT +NAME +TYPE.*\nADDED +watched +stdio +node/m);
    await passes(['apply', '-f', '-'], server('watched', 'team: red', 'deno'));
    await until(/^MODIFIED +watched +stdio +deno/m);
    await passes(['delete', 'server', 'watched']);
    await until(/^DELETED +watched/m);
  } finally {
    child.kill();
  }
});
