import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, it, type TestContext } from 'node:test';
import {
  onEachDatabase,
  openAudit,
  sqliteDatabase,
  type TestDatabase,
  temporaryFolder,
} from '../../test/support/databases.ts';
import { Refusal } from '../base/errors.ts';
import { Resources } from './registry.ts';

const open = '${';

function refusal(kind: Refusal['kind'], message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof Refusal, String(error));
    assert.equal(error.kind, kind);
    assert.match(error.message, message);
    return true;
  };
}

const server = (name: string, spec: object = { url: 'http://127.0.0.1:1/mcp' }) => {
  return { apiVersion: 'castellan/v1', kind: 'Server', metadata: { name }, spec };
};
const project = (name: string, ...servers: string[]) => ({
  kind: 'Project',
  metadata: { name },
  spec: { servers },
});

onEachDatabase('resources', (make) => {
  let database: TestDatabase;
  let folder: string;
  const opened: Resources[] = [];

  beforeEach(async () => {
    running = undefined;
    database = await make();
    folder = await temporaryFolder();
  });
  afterEach(async () => {
    for (const resources of opened.splice(0)) await resources.close();
    await database.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  type Process = Awaited<ReturnType<TestDatabase['open']>>;
  let running: Process | undefined;
  /** Opened again, they are what the next start of the same process would have. */
  const resourcesOf = async (files: string[], env: Record<string, string> = {}) => {
    running ??= await database.open();
    const { store, dataDir } = running;
    const { logger } = database;
    const resources = await Resources.open({
      store,
      audit: await openAudit({ store, dataDir }),
      files,
      env,
      logger,
      dataDir: dataDir.path,
      nodePath: '/bin/node',
    });
    opened.push(resources);
    return resources;
  };
  const file = async (name: string, content: object | string) => {
    const place = path.join(folder, name);
    await writeFile(place, typeof content === 'string' ? content : JSON.stringify(content, null, 1));
    return place;
  };

  describe('over the API', () => {
    it('are created, configured, left unchanged, listed and removed', async () => {
      const resources = await resourcesOf([]);
      const first = await resources.put(server('b'));
      assert.equal(first.action, 'created');
      assert.equal((await resources.put(server('b'))).action, 'unchanged');
      const second = await resources.put(server('b', { url: 'http://127.0.0.1:2/mcp' }));
      assert.equal(second.action, 'configured');
      assert.equal(second.object.metadata.uid, first.object.metadata.uid);
      assert.notEqual(second.object.metadata.resourceVersion, first.object.metadata.resourceVersion);
      await resources.put(server('a'));
      assert.deepEqual(
        resources.list('Server').map((object) => object.metadata.name),
        ['a', 'b'],
      );
      assert.deepEqual(resources.get('Server', first.object.metadata.uid), second.object);
      assert.deepEqual(await resources.remove('Server', first.object.metadata.uid), second.object);
      assert.equal(resources.get('Server', 'b'), undefined);
      await assert.rejects(resources.remove('Server', 'b'), refusal('not_found', /no server b/));
    });

    it('make their folder once they are kept, and for nobody who only asks or is refused', async () => {
      const resources = await resourcesOf([]);
      const made = path.join(running!.dataDir.path, 'folders', 'notes');
      const wish = server('a', { command: 'x', args: [`${open}castellan:folder:notes}`] });
      await resources.put(wish, { dryRun: true });
      const check = () => {
        throw new Refusal('forbidden', 'not you');
      };
      await assert.rejects(resources.put(wish, { check }), refusal('forbidden', /not you/));
      assert.equal(existsSync(made), false);
      await resources.put(wish);
      assert.equal(existsSync(made), true);
    });

    it('come back as written after a restart', async () => {
      const spec = { command: 'x', args: [`$${open}literal}`], lifecycle: { callTimeout: '5s' } };
      const resources = await resourcesOf([]);
      const { object } = await resources.put(server('a', spec));
      await resources.put(project('p', 'a'));
      const again = await resourcesOf([]);
      assert.deepEqual(again.get('Server', 'a'), object);
      assert.deepEqual(object.spec, spec);
      assert.deepEqual(again.snapshot().servers.get('a')?.spec?.target, {
        type: 'stdio',
        command: 'x',
        args: [`${open}literal}`],
        env: {},
      });
      assert.deepEqual(again.snapshot().projects.get('p')?.spec.servers, ['a']);
    });

    it('carry labels, and lose those that a change leaves out', async () => {
      const resources = await resourcesOf([]);
      const labelled = (labels: unknown) => ({ ...server('a'), metadata: { name: 'a', labels } });
      const { object } = await resources.put(labelled({ team: 'red' }));
      assert.deepEqual(object.metadata.labels, { team: 'red' });
      assert.equal((await resources.put(labelled({ team: 'red' }))).action, 'unchanged');
      assert.deepEqual((await resourcesOf([])).get('Server', 'a'), object);
      const bare = await resources.put(server('a'));
      assert.deepEqual([bare.action, bare.object.metadata.labels], ['configured', undefined]);
      await assert.rejects(
        resources.put(labelled({ team: 1 })),
        refusal('invalid', /^metadata\.labels\.team:/),
      );
    });

    it('are changed only in the version that the change names', async () => {
      const resources = await resourcesOf([]);
      const at = (resourceVersion: string, url: string) => ({
        ...server('a', { url }),
        metadata: { name: 'a', resourceVersion },
      });
      const { object } = await resources.put(server('a'), { expected: 'none' });
      const first = object.metadata.resourceVersion;
      await assert.rejects(
        resources.put(server('a'), { expected: 'none' }),
        refusal('conflict', /exists already/),
      );
      const both = [2, 3].map((port) => resources.put(at(first, `http://127.0.0.1:${port}/mcp`)));
      const outcomes = await Promise.allSettled(both);
      assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
      const current = resources.get('Server', 'a')!.metadata.resourceVersion;
      const stale = refusal('conflict', new RegExp(`its resourceVersion is ${current}, not ${first};`));
      await assert.rejects(resources.put(at(first, 'http://127.0.0.1:4/mcp'), { dryRun: true }), stale);
      await assert.rejects(resources.remove('Server', 'a', { expected: { version: first } }), stale);
      await resources.remove('Server', 'a', { expected: { version: current } });
      await assert.rejects(
        resources.put(at(current, 'http://127.0.0.1:4/mcp')),
        refusal('conflict', /not exist/),
      );
      const again = await resources.put(server('a'));
      assert.ok(![first, current].includes(again.object.metadata.resourceVersion), 'no version comes back');
    });

    it('change nothing in a dry run', async () => {
      const resources = await resourcesOf([]);
      const before = resources.snapshot();
      assert.equal((await resources.put(server('a'), { dryRun: true })).action, 'created');
      assert.equal(resources.snapshot(), before);
      assert.deepEqual((await resourcesOf([])).list('Server'), []);
    });

    it('are refused when they name what is not there, and kept while something names them', async () => {
      const resources = await resourcesOf([]);
      await assert.rejects(
        resources.put(project('p', 'a')),
        refusal('invalid', /^spec\.servers\[0\]: there is no server a: declare it/),
      );
      await resources.put(server('a'));
      await resources.put(project('p', 'a'));
      await assert.rejects(resources.remove('Server', 'a'), refusal('conflict', /used by project p/));
      await assert.rejects(resources.remove('Server', 'a', { dryRun: true }), refusal('conflict', /used by/));
      await resources.remove('Project', 'p');
      await resources.remove('Server', 'a', { dryRun: true });
      assert.ok(resources.get('Server', 'a'));
      await resources.remove('Server', 'a');
    });

    it('are refused when they cannot mean anything here', async () => {
      const resources = await resourcesOf([], { A: 'x' });
      const bad: [unknown, RegExp][] = [
        [undefined, /is not an object/],
        [{ ...server('a'), kind: 'McpToken', spec: {} }, /is created, not put/],
        [server('a', { url: `http://x/${open}A}` }), /^spec\.url: variable A does not expand in the server/],
        [
          server('a', { url: 'http://x/', headers: { a: `${open}secret:s}` } }),
          /^spec\.headers\.a: names no secret/,
        ],
        [
          server('a', {
            url: 'http://x/',
            tools: { override: { t: { description: `${open}secret:s.k}` } } },
          }),
          /^spec\.tools\.override\.t\.description: a secret cannot stand here: use it in env, headers, args, url/,
        ],
        [server('a', { url: `ftp://${open}castellan:node}` }), /^spec\.url: is not an http or https URL/],
        [server('a', JSON.parse('{"command":"x","env":{"__proto__":"x"}}')), /__proto__: is not a valid key/],
      ];
      for (const [body, message] of bad)
        await assert.rejects(resources.put(body), refusal('invalid', message));
      assert.deepEqual(resources.list('Server'), []);
    });

    it('tell every listener of each change, once, until it has enough', async () => {
      const resources = await resourcesOf([]);
      const generations: number[] = [];
      const stop = resources.onChange((now, before) => {
        assert.ok(now.generation > before.generation);
        assert.equal(resources.snapshot(), now);
        generations.push(now.generation);
      });
      resources.onChange(() => {
        throw new Error('a listener that fails');
      });
      await resources.put(server('a'));
      await resources.put(server('a'));
      assert.equal(generations.length, 1);
      stop();
      await resources.remove('Server', 'a');
      assert.equal(generations.length, 1);
    });

    it('end in one state when many change them at once', async () => {
      const resources = await resourcesOf([]);
      await resources.put(server('a'));
      const outcomes = await Promise.allSettled([
        ...Array.from({ length: 10 }, (_, index) => resources.put(project(`p${index}`, 'a'))),
        resources.remove('Server', 'a'),
        ...Array.from({ length: 10 }, (_, index) => resources.remove('Project', `p${index}`)),
        resources.remove('Server', 'a'),
      ]);
      assert.deepEqual(
        outcomes.map(({ status }) => status).filter((status) => status === 'rejected').length,
        1,
      );
      assert.equal(outcomes[10]?.status, 'rejected');
      assert.equal(resources.snapshot().projects.size, 0);
      assert.equal(resources.snapshot().servers.size, 0);
    });
  });

  describe('of files', () => {
    it('belong to their file and keep their ids', async () => {
      const place = await file('a.json', [server('a'), project('p', 'a')]);
      const resources = await resourcesOf([place]);
      const object = resources.get('Project', 'p');
      assert.equal(object?.metadata.managedBy, `file:${place}`);
      const belongs = refusal('conflict', /belongs to file .*a\.json: change it there/);
      await assert.rejects(resources.put(server('a', { command: 'x' })), belongs);
      await assert.rejects(resources.put(server('a'), { dryRun: true }), belongs);
      await assert.rejects(resources.remove('Project', 'p'), belongs);
      const again = await resourcesOf([place]);
      assert.equal(again.get('Project', 'p')?.metadata.uid, object?.metadata.uid);
    });

    it('replace those of earlier files as a whole', async () => {
      const first = await file('1.json', [
        server('a', { command: 'x', args: ['1'] }),
        server('b'),
        project('p', 'a'),
      ]);
      const second = await file('2.yaml', 'kind: Server\nmetadata: { name: a }\nspec: { command: y }\n');
      const resources = await resourcesOf([first, second]);
      assert.deepEqual(resources.get('Server', 'a')?.spec, { command: 'y' });
      assert.equal(resources.get('Server', 'a')?.metadata.managedBy, `file:${second}`);
      assert.equal(resources.get('Server', 'b')?.metadata.managedBy, `file:${first}`);
    });

    it('stand in for an object of the API, which comes back when they leave', async () => {
      const place = await file('a.json', [server('b')]);
      const resources = await resourcesOf([place]);
      await resources.put(server('a'));
      await file('a.json', [server('b'), server('a', { command: 'x' })]);
      assert.equal((await resources.reload()).ok, true);
      assert.deepEqual(resources.get('Server', 'a')?.spec, { command: 'x' });
      await file('a.json', [server('b')]);
      await resources.reload();
      assert.equal(resources.get('Server', 'a')?.metadata.managedBy, 'api');
    });

    it('may name a server of the API, which then stays', async () => {
      const resources = await resourcesOf([]);
      await resources.put(server('a'));
      const place = await file('p.json', project('p', 'a'));
      const again = await resourcesOf([place]);
      await assert.rejects(again.remove('Server', 'a'), refusal('conflict', /used by project p/));
    });

    it('break one server alone when its variable is not set', async () => {
      const place = await file(
        'client.json',
        `{ "mcpServers": {\n "a": { "command": "x",\n  "env": { "T": "${open}TOKEN_A}" } },\n "b": { "command": "${open}CMD}" },\n "c": { "command": "${open}CASTELLAN_PORT:-x}" },\n "d": { "command": "x", "env": { "K": "${open}secret:s.k}" } },\n "e": { "url": "${open}URL}" } } }`,
      );
      const resources = await resourcesOf([place], { CMD: 'y', URL: 'not a url s3cret' });
      const { servers, projects } = resources.snapshot();
      assert.equal(servers.get('b')?.error, undefined);
      const variable = 'variable TOKEN_A is not set: set it, or give a default';
      assert.ok(servers.get('a')?.error?.startsWith(`${place}:3: mcpServers.a.env.T: ${variable}`));
      assert.equal(servers.get('a')?.spec, undefined);
      assert.match(servers.get('c')?.error ?? '', /client\.json:5: .*CASTELLAN_PORT .* never expands/);
      assert.match(
        servers.get('d')?.error ?? '',
        /client\.json:6: .*there is no secret s: create it, with a key k/,
      );
      assert.match(
        servers.get('e')?.error ?? '',
        /client\.json:7: mcpServers\.e\.url: is not an http or https URL/,
      );
      assert.doesNotMatch(servers.get('e')?.error ?? '', /s3cret/);
      assert.deepEqual(projects.get('default')?.spec.servers, ['a', 'b', 'c', 'd', 'e']);
    });

    it('show what variables became, and what did not', async () => {
      const place = await file('a.json', server('a', { command: `${open}CMD}`, args: [`${open}NONE}`] }));
      const resources = await resourcesOf([place], { CMD: 'y' });
      assert.deepEqual(resources.get('Server', 'a')?.spec, {
        command: `${open}CMD}`,
        args: [`${open}NONE}`],
      });
      const resolved = resources.resolved('a');
      assert.deepEqual(resolved?.spec, { command: 'y', args: [`${open}NONE}`] });
      assert.match(resolved?.error ?? '', /a\.json:\d+: spec\.args\[0\]: variable NONE is not set/);
      assert.equal(resources.resolved('none'), undefined);
    });

    it('are refused at start with file and line', async () => {
      const cases: [string, RegExp][] = [
        [
          await file('y.yaml', 'kind: Server\nmetadata: { name: a }\nspec: { ulr: x, command: y }\n'),
          /y\.yaml:3: spec\.ulr: unknown/,
        ],
        [
          await file('p.yaml', 'kind: Project\nmetadata: { name: p }\nspec:\n  servers: [no]\n'),
          /p\.yaml:4: spec\.servers\[0\]: there is no server no/,
        ],
        [
          await file('t.yaml', 'kind: McpToken\nmetadata: { name: t, project: no }\n'),
          /t\.yaml:1: metadata\.project: there is no project no/,
        ],
        [
          await file('d.json', [server('a'), server('a')]),
          /d\.json:\d+: metadata\.name: Server a stands already on line \d+/,
        ],
        [path.join(folder, 'missing.yaml'), /missing\.yaml:1: the file does not exist/],
        [folder, /:1: is a folder/],
      ];
      for (const [place, message] of cases) {
        await assert.rejects(resourcesOf([place]), refusal('invalid', message));
      }
    });

    it('keep their last good state when a reload finds them broken', async () => {
      const place = await file('a.yaml', 'kind: Server\nmetadata: { name: a }\nspec: { command: x }\n');
      const resources = await resourcesOf([place]);
      const before = resources.snapshot();
      await file('a.yaml', 'kind: Server\nmetadata: { name: a }\nspec: { command: [x\n');
      const outcome = await resources.reload();
      assert.equal(outcome.ok, false);
      assert.match(outcome.message, /^kept the last good configuration: .*a\.yaml:\d+: /);
      assert.equal(resources.snapshot(), before);
      await file('a.yaml', 'kind: Server\nmetadata: { name: b }\nspec: { command: x }\n');
      assert.equal((await resources.reload()).ok, true);
      assert.deepEqual([...resources.snapshot().servers.keys()], ['b']);
    });

    it('leave a broken server behind where a project of the API still names it', async () => {
      const place = await file('a.json', [server('a'), server('b')]);
      const resources = await resourcesOf([place]);
      await resources.put(project('p', 'a'));
      await file('a.json', [server('b')]);
      assert.equal((await resources.reload()).ok, true);
      assert.match(resources.snapshot().servers.get('a')?.error ?? '', /no server a, which project p names/);
      assert.equal(resources.get('Server', 'a'), undefined);
    });

    it('change a fingerprint with the spec or a variable, and with nothing else', async () => {
      const place = await file('a.json', [server('a', { command: `${open}CMD}` }), server('b')]);
      const env = { CMD: 'x' };
      const resources = await resourcesOf([place], env);
      const before = resources.snapshot();
      await resources.reload();
      assert.equal(resources.snapshot(), before);
      env.CMD = 'y';
      await resources.reload();
      const after = resources.snapshot();
      assert.notEqual(after.servers.get('a')?.fingerprint, before.servers.get('a')?.fingerprint);
      assert.equal(after.servers.get('b')?.fingerprint, before.servers.get('b')?.fingerprint);
    });
  });
});

async function replicas(database: TestDatabase, test: TestContext): Promise<[Resources, Resources]> {
  const open = async () => {
    const { store, dataDir } = await database.open();
    const { logger } = database;
    const audit = await openAudit({ store, dataDir });
    const options = { store, audit, files: [], env: {}, logger, dataDir: dataDir.path, nodePath: '' };
    const resources = await Resources.open(options);
    test.after(() => resources.close());
    return resources;
  };
  return [await open(), await open()];
}

onEachDatabase('resources of two processes', (make) => {
  it('agree after a refresh, and never leave a project without its server', async (test) => {
    const database = await make();
    test.after(() => database.dispose());
    if (database.name === 'SQLite') return test.skip('a SQLite file serves one process');
    const [one, two] = await replicas(database, test);
    await one.put(server('a'));
    await two.refresh();
    assert.deepEqual(two.get('Server', 'a'), one.get('Server', 'a'));
    for (let round = 0; round < 10; round++) {
      const outcomes = await Promise.allSettled([one.put(project('p', 'a')), two.remove('Server', 'a')]);
      assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 1);
      await Promise.all([one.refresh(), two.refresh()]);
      assert.deepEqual(one.list('Project'), two.list('Project'));
      assert.deepEqual(one.list('Server'), two.list('Server'));
      if (one.get('Project', 'p')) await one.remove('Project', 'p');
      await two.put(server('a'));
    }
  });

  it('hear of each other by themselves', async (test) => {
    const database = await make();
    test.after(() => database.dispose());
    if (database.name === 'SQLite') return test.skip('a SQLite file serves one process');
    const [one, two] = await replicas(database, test);
    const heard = new Promise<void>((resolve) => {
      two.onChange((now) => now.servers.has('a') && resolve());
    });
    await one.put(server('a'));
    // The poll does not keep a process alive; the test has to.
    const deadline = AbortSignal.timeout(10_000);
    const alive = setTimeout(() => {}, 10_000);
    await Promise.race([heard, once(deadline, 'abort').then(() => assert.fail('nothing heard in 10 s'))]);
    clearTimeout(alive);
    assert.deepEqual(two.get('Server', 'a'), one.get('Server', 'a'));
  });
});

describe('the quickstart example', () => {
  it('needs nothing but what is installed with Castellan', async (test) => {
    const database = await sqliteDatabase();
    test.after(() => database.dispose());
    const { store, dataDir } = await database.open();
    const resources = await Resources.open({
      store,
      audit: await openAudit({ store, dataDir }),
      files: [path.join(import.meta.dirname, '../../examples/quickstart.yaml')],
      env: {},
      logger: database.logger,
      dataDir: dataDir.path,
      nodePath: process.execPath,
    });
    const { servers, projects, repositories } = resources.snapshot();
    assert.deepEqual(projects.get('demo')?.spec.servers, ['everything', 'filesystem', 'memory']);
    assert.deepEqual(projects.get('demo')?.spec.operatorServers, ['tickets', 'review', 'approvals']);
    const top = path.join(import.meta.dirname, '../..');
    const { spec: repository, error: fault } = repositories.get('castellan')!;
    if (existsSync(path.join(top, '.git'))) assert.equal(repository?.path, top);
    else assert.match(fault ?? '', /does not run from a git checkout/);
    for (const { error, spec } of servers.values()) {
      assert.equal(error, undefined);
      if (spec?.target.type === 'builtin') continue;
      assert.ok(spec?.target.type === 'stdio');
      assert.equal(spec.target.command, process.execPath);
      assert.ok((await stat(spec.target.args[0] ?? '')).isFile());
    }
    const sandbox = path.join(dataDir.path, 'folders', 'sandbox');
    const target = servers.get('filesystem')?.spec?.target;
    assert.ok(target?.type === 'stdio' && target.args[1] === sandbox);
    assert.equal((await stat(sandbox)).mode & 0o777, 0o700);
    assert.deepEqual(
      resources.fileTokens().map(({ name, project, spec }) => [name, project, spec.binds]),
      [['quickstart', 'demo', [{ role: 'run', resource: 'tools' }]]],
    );
  });
});
