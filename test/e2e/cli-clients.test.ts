import assert from 'node:assert/strict';
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { parse } from 'yaml';
import { runCli, startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { StdioClient } from '../support/stdio-client.ts';

let home = '';
let castellan: TestCastellan;

before(async () => {
  home = await realpath(await mkdtemp(path.join(tmpdir(), 'castellan-clients-')));
  castellan = await startCastellan();
});

after(async () => {
  await castellan[Symbol.asyncDispose]();
  await rm(home, { recursive: true, force: true });
});

function cli(args: readonly string[], input = '', env: Record<string, string> = {}) {
  const own = {
    HOME: home,
    XDG_CONFIG_HOME: path.join(home, '.config'),
    CASTELLAN_DATA_DIR: '',
    CASTELLAN_TOKEN: '',
  };
  return runCli(args, { input, env: { ...own, NO_COLOR: '1', ...env }, cwd: home });
}

const config = (...args: string[]) => cli(['config', ...args, '--data-dir', castellan.dataDir]);

test('config prints what each client pastes', async () => {
  const url = `${castellan.url}/projects/demo/mcp`;
  const claude = await config('claude', '-p', 'demo');
  assert.deepEqual(JSON.parse(claude.stdout), {
    mcpServers: { demo: { type: 'http', url, headers: { Authorization: `Bearer \${CASTELLAN_TOKEN}` } } },
  });
  assert.match(claude.stderr, /\.mcp\.json[\s\S]*export CASTELLAN_TOKEN=\$\(castellan create mcptoken/);
  const cursor = JSON.parse((await config('cursor', '-p', 'demo', '--name', 'mine')).stdout);
  assert.deepEqual(cursor.mcpServers.mine, {
    url,
    headers: { Authorization: `Bearer \${env:CASTELLAN_TOKEN}` },
  });
  const code = JSON.parse((await config('vscode', '--surface', 'consumer', '--surface', 'operator')).stdout);
  assert.deepEqual(Object.keys(code.servers), ['demo', 'demo-operator']);
  assert.equal(code.servers['demo-operator'].url, `${castellan.url}/projects/demo/operator-mcp`);
  const [{ id, password }] = code.inputs;
  assert.deepEqual([password, code.servers.demo.headers.Authorization], [true, `Bearer \${input:${id}}`]);
  const codex = await config('codex', '-p', 'demo');
  assert.equal(
    codex.stdout,
    `[mcp_servers.demo]\nurl = "${url}"\nbearer_token_env_var = "CASTELLAN_TOKEN"\n`,
  );
  assert.equal((await config('claude', '-p', 'nope')).code, 1);
  assert.equal((await config('netscape')).code, 64);
  assert.equal((await config('claude', '-p', 'demo', '--surface', 'both')).code, 64);
});

test('config takes the token from elsewhere, and what it prints works', async () => {
  const made = await castellan.cli('create', 'mcptoken', 'entry', '-p', 'demo', '--rbac', 'clone');
  const token = made.stdout.trim();
  const args = ['config', 'codex', '-p', 'demo', '--data-dir', castellan.dataDir];
  const codex = await cli([...args, '--token-from', '-'], token);
  assert.match(codex.stdout, new RegExp(`http_headers = \\{ Authorization = "Bearer ${token}" \\}`));
  assert.match(codex.stderr, /warning: the entry holds the token itself/);
  const claude = await cli(
    ['config', 'claude', '-p', 'demo', '--data-dir', castellan.dataDir, '--token-from', 'env:T'],
    '',
    { T: token },
  );
  const { demo } = JSON.parse(claude.stdout).mcpServers;
  const answer = await fetch(demo.url, {
    method: 'POST',
    headers: { ...demo.headers, 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
  });
  assert.equal(answer.status, 200);
});

test('config for OAuth holds no token, but the id of a registered client', async () => {
  const url = `${castellan.url}/projects/demo/mcp`;
  const entry = async (client: string, ...more: string[]) => {
    const { stdout } = await config(client, '-p', 'demo', ...more);
    return stdout.startsWith('{') ? Object.values(JSON.parse(stdout))[0] : stdout;
  };
  const http = { type: 'http', url };
  assert.deepEqual(await entry('claude', '--oauth'), { demo: http });
  assert.deepEqual(await entry('cursor', '--oauth'), { demo: { url } });
  assert.deepEqual(await entry('vscode', '--oauth'), { demo: http });
  assert.deepEqual(await entry('generic', '--oauth'), { demo: http });
  assert.equal(await entry('codex', '--oauth'), `[mcp_servers.demo]\nurl = "${url}"\n`);
  const registered = ['--client-id', 'laptop'];
  assert.deepEqual(await entry('claude', ...registered), {
    demo: { ...http, oauth: { clientId: 'laptop' } },
  });
  assert.deepEqual(await entry('cursor', ...registered), { demo: { url, auth: { CLIENT_ID: 'laptop' } } });
  assert.deepEqual(await entry('vscode', ...registered), {
    demo: { ...http, oauth: { clientId: 'laptop' } },
  });
  assert.equal(
    await entry('codex', ...registered),
    `[mcp_servers.demo]\nurl = "${url}"\n\n[mcp_servers.demo.oauth]\nclient_id = "laptop"\ncallback_url = "http://127.0.0.1/callback"\n`,
  );
  const both = await config('claude', '-p', 'demo', '--oauth', '--token-from', 'env:X');
  assert.deepEqual([both.code, /needs no token/.test(both.stderr)], [64, true]);
});

test('config for stdio holds no token, and what it prints works', async () => {
  const { dataDir } = castellan;
  const argsFor = (...more: string[]) => ['mcp-serve', '--data-dir', dataDir, '-p', 'demo', ...more];
  for (const client of ['claude', 'cursor', 'generic']) {
    const { mcpServers } = JSON.parse((await config(client, '-p', 'demo', '--stdio')).stdout);
    assert.deepEqual(mcpServers, { demo: { command: 'castellan', args: argsFor() } });
  }
  const both = await config(
    'vscode',
    '-p',
    'demo',
    '--stdio',
    '--surface',
    'consumer',
    '--surface',
    'operator',
  );
  assert.deepEqual(JSON.parse(both.stdout).servers, {
    demo: { type: 'stdio', command: 'castellan', args: argsFor() },
    'demo-operator': { type: 'stdio', command: 'castellan', args: argsFor('--surface', 'operator') },
  });
  const codex = await config('codex', '-p', 'demo', '--stdio');
  assert.match(codex.stdout, /^\[mcp_servers\.demo\]\ncommand = "castellan"\nargs = \["mcp-serve", /);
  assert.match(codex.stderr, /PATH of the client/);
  const elsewhere = await cli(['config', 'generic', '--stdio', '--server', 'https://mcp.example.com/']);
  const { mcpServers } = JSON.parse(elsewhere.stdout);
  assert.deepEqual(mcpServers.castellan.args.slice(1, 3), ['--server', 'https://mcp.example.com']);
  for (const wrong of [['--oauth'], ['--token-from', 'env:X'], ['--client-id', 'x']])
    assert.equal((await config('claude', '-p', 'demo', '--stdio', ...wrong)).code, 64);
  await using client = new StdioClient(argsFor().slice(1));
  assert.deepEqual((await client.ask('ping')).result, {});
});

test('config generic needs no server', async () => {
  const bare = await cli(['config', 'generic']);
  assert.equal(JSON.parse(bare.stdout).mcpServers.castellan.url, 'http://127.0.0.1:7400/mcp');
  const named = await cli(['config', 'generic', '-p', 'demo', '--server', 'https://mcp.example.com']);
  const { url, headers } = JSON.parse(named.stdout).mcpServers.demo;
  assert.deepEqual(
    [url, headers.Authorization],
    ['https://mcp.example.com/projects/demo/mcp', 'Bearer <TOKEN>'],
  );
});

test('import prints what apply takes, and warns of secrets', async () => {
  const file = path.join(home, 'client.json');
  const servers = {
    'My Notes': {
      command: 'node',
      args: ['-v'],
      env: { API_TOKEN: 'in-clear', OTHER_TOKEN: `\${OTHER}`, MODE: 'x' },
    },
    remote: { type: 'http', url: 'https://example.com/mcp', headers: { Authorization: 'Bearer abc' } },
  };
  await writeFile(file, JSON.stringify({ mcpServers: servers }));
  const printed = await cli(['import', file]);
  assert.equal(printed.code, 0, printed.stderr);
  const [notes, remote] = printed.stdout.split('---\n').map((text) => parse(text));
  assert.deepEqual([notes.metadata.name, notes.spec.env.OTHER_TOKEN], ['my-notes', `\${OTHER}`]);
  assert.equal(remote.spec.url, 'https://example.com/mcp');
  const warned = printed.stderr.match(/(?<=warning: )\S+: (env|headers)\.\S+(?= holds)/g);
  assert.deepEqual(warned, ['my-notes: env.API_TOKEN', 'remote: headers.Authorization']);
  assert.doesNotMatch(printed.stderr, /in-clear|abc/);
  const where = ['--data-dir', castellan.dataDir];
  const planned = await cli(['import', file, '--apply', '--dry-run', ...where], '', { OTHER: 'y' });
  assert.match(planned.stderr, /2 created, 0 configured, 0 unchanged \(dry run\)/);
  const applied = await cli(['import', file, '-y', ...where], '', { OTHER: 'y' });
  assert.equal(applied.stdout, 'server/my-notes created\nserver/remote created\n', applied.stderr);
  const unset = await cli(['import', file, '-y', ...where]);
  assert.deepEqual([unset.code, /variable OTHER is not set/.test(unset.stderr)], [1, true]);
  await writeFile(
    path.join(home, 'other.yaml'),
    'kind: Server\nmetadata: { name: x }\nspec: { command: x }\n',
  );
  assert.match(
    (await cli(['import', path.join(home, 'other.yaml')])).stderr,
    /neither mcpServers nor servers/,
  );
  assert.equal((await cli(['import', path.join(home, 'none.json')])).code, 1);
});

test('import keeps secrets apart and adds the servers to a project', async () => {
  const file = path.join(home, 'whole.json');
  const servers = {
    hub: {
      command: 'node',
      args: ['--api-key', 'abc-123', '-v'],
      env: { HUB_PAT: 'ghp_abcdef', PLAIN: 'x', ODD: 'sk-123' },
    },
    web: { url: 'https://example.com/mcp', headers: { Authorization: 'Bearer abc' } },
  };
  await writeFile(file, JSON.stringify({ mcpServers: servers }));
  const printed = await cli(['import', file, '--secrets']);
  const objects = printed.stdout.split('---\n').map((text) => parse(text));
  assert.deepEqual(
    objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`),
    ['Secret/hub', 'Server/hub', 'Secret/web', 'Server/web'],
  );
  assert.deepEqual(objects[0].spec.data, { HUB_PAT: 'ghp_abcdef', ODD: 'sk-123' });
  const reference = (name: string) => `\${secret:${name}}`;
  assert.deepEqual(objects[1].spec.env, {
    HUB_PAT: reference('hub.HUB_PAT'),
    PLAIN: 'x',
    ODD: reference('hub.ODD'),
  });
  assert.match(printed.stderr, /hub: args\[1\] holds what looks like a secret/);
  assert.match(printed.stderr, /name them in the spec\.servers of a project/);
  assert.equal((await cli(['import', file, '-p', 'taken'])).code, 64);

  const where = ['--data-dir', castellan.dataDir];
  const rounds = [
    ['-p', 'taken', '--dry-run'],
    ['-p', 'taken'],
    ['-p', 'taken'],
  ];
  const said: string[] = [];
  for (const more of rounds) {
    const { code, stdout, stderr } = await cli(['import', file, '-y', '--secrets', ...more, ...where]);
    assert.equal(code, 0, stderr);
    said.push(stdout);
  }
  assert.match(said[0]!, /^secret\/hub created \(dry run\)\n[\s\S]*project\/taken created \(dry run\)\n$/);
  assert.match(said[1]!, /^secret\/hub created\nserver\/hub created\n[\s\S]*project\/taken created\n$/);
  assert.match(said[2]!, /server\/hub unchanged\n[\s\S]*project\/taken unchanged\n$/);
  const get = async (what: string) => JSON.parse((await cli(['get', what, '-o', 'json', ...where])).stdout);
  assert.deepEqual((await get('project/taken')).spec.servers, ['hub', 'web']);
  assert.deepEqual((await get('secret/hub')).spec, { keys: ['HUB_PAT', 'ODD'] });
  assert.doesNotMatch(JSON.stringify(await get('server/hub')), /ghp_|sk-123/);
  const { stderr } = await cli(['import', file, '-y', '--secrets', ...where]);
  assert.match(stderr, /import again with -p PROJECT/);
});

test('import finds the servers of clients, those of this folder before those of the user', async () => {
  const entry = (command: string) => ({ command });
  const none = await cli(['import', 'vscode']);
  assert.deepEqual([none.code, /no servers of vscode were found; looked at/.test(none.stderr)], [1, true]);
  const claude = {
    history: ['x'.repeat(5 * 1024 * 1024)],
    mcpServers: { everywhere: entry('a'), both: entry('a') },
    projects: {
      [home]: { mcpServers: { here: entry('b') } },
      '/elsewhere': { mcpServers: { there: entry('c') } },
    },
  };
  await writeFile(path.join(home, '.claude.json'), JSON.stringify(claude));
  await writeFile(path.join(home, '.mcp.json'), '{ "mcpServers": { "both": { "command": "d" } } } // mine\n');
  const found = await cli(['import', 'claude']);
  const objects = found.stdout.split('---\n').map((text) => parse(text));
  assert.deepEqual(
    objects.map(({ metadata, spec }) => `${metadata.name}=${spec.command}`),
    ['everywhere=a', 'both=d', 'here=b'],
    found.stderr,
  );
  for (const [client, place] of [
    ['cursor', '.cursor/mcp.json'],
    ['vscode', '.config/Code/User/mcp.json'],
  ] as const) {
    const file = path.join(home, place);
    await mkdir(path.dirname(file), { recursive: true });
    const key = client === 'vscode' ? 'servers' : 'mcpServers';
    await writeFile(file, JSON.stringify({ [key]: { [client]: entry('x') } }));
    assert.match((await cli(['import', client])).stdout, new RegExp(`name: ${client}`));
  }
});
