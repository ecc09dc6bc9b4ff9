import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { type CliResult, runCli, startCastellan, type TestCastellan } from '../support/running-castellan.ts';
import { ScopedVendor } from '../support/scoped-vendor.ts';

let castellan: TestCastellan;
let vendor: ScopedVendor;
let name = '';
let serial = 0;

before(async () => {
  castellan = await startCastellan([]);
  await passes(['create', 'secret', 'machine', '--from-file', 'k=-'], 'top-secret');
});
after(() => castellan[Symbol.asyncDispose]());
beforeEach(async () => {
  serial += 1;
  name = `scoped-${serial}`;
  vendor = await ScopedVendor.start();
});
afterEach(() => vendor[Symbol.asyncDispose]());

const MACHINE = {
  type: 'oauth',
  grant: 'client_credentials',
  clientId: 'robot',
  clientSecret: `\${secret:machine.k}`,
};

const cli = (args: string[], input = ''): Promise<CliResult> =>
  runCli([...args, '--data-dir', castellan.dataDir], { input });

async function passes(args: string[], input = ''): Promise<CliResult> {
  const result = await cli(args, input);
  assert.equal(result.code, 0, `${args.join(' ')}: ${result.stdout}${result.stderr}`);
  return result;
}

async function apply(auth: object): Promise<void> {
  const server = { kind: 'Server', metadata: { name }, spec: { url: vendor.url, auth } };
  const project = { kind: 'Project', metadata: { name }, spec: { servers: [name] } };
  await passes(['apply', '-f', '-'], JSON.stringify([server, project]));
}

async function call(tool: string): Promise<string> {
  const { stdout, stderr } = await cli(['call', `${name}__${tool}`, '{}', '-p', name]);
  return stdout + stderr;
}

/** Signs in as a person would, and answers the scopes that were asked for. */
async function signIn(): Promise<string | null> {
  const { stderr } = await cli(['mcp', 'login', name, '--paste']);
  const [, page = ''] = /^ {2}(http\S+)$/m.exec(stderr) ?? [];
  const back = (await fetch(page, { redirect: 'manual' })).headers.get('location') ?? '';
  await passes(['mcp', 'login', name, `--paste=${back}`]);
  return new URL(page).searchParams.get('scope');
}

async function state(): Promise<string> {
  const { items } = JSON.parse((await passes(['mcp', 'status', '-o', 'json'])).stdout) as {
    items: { name: string; state: string }[];
  };
  return items.find((one) => one.name === name)?.state ?? '';
}

describe('a server that wants more scopes', () => {
  test('names them and the command, keeps its other tools, and gets all of them at the next sign-in', async () => {
    await apply({ type: 'oauth' });
    assert.equal(await signIn(), 'base');
    assert.match(await call('read'), /done/);
    assert.match(
      await call('write'),
      /wants the scope write: somebody has to sign in again.*castellan mcp login scoped-1/s,
    );
    assert.match(await call('read'), /done/);
    assert.equal(await state(), 'connected');
    assert.equal(await signIn(), 'base write');
    assert.match(await call('write'), /done/);
    assert.match(await call('read'), /done/);
  });

  test('is asked for them three times at most, and then the call is refused for good', async () => {
    await apply({ type: 'oauth' });
    await signIn();
    const scopes: (string | null)[] = [];
    for (let signIns = 1; signIns < 3; signIns += 1) {
      assert.match(await call('never'), /castellan mcp login/);
      scopes.push(await signIn());
    }
    assert.deepEqual(scopes, ['base never', 'base never']);
    const refused = await call('never');
    assert.doesNotMatch(refused, /castellan mcp login/);
    assert.match(refused, /vendor has to allow them more/);
    assert.match(await call('read'), /done/);
    assert.match((await passes(['get', 'tools', '-p', name])).stdout, /never/);
  });
});

describe('a machine', () => {
  test('needs nobody: it fetches a token, renews one that is refused, and widens it for the call', async () => {
    await apply(MACHINE);
    assert.match(await call('read'), /done/);
    const [{ form, proof } = { form: new URLSearchParams(), proof: '' }] = vendor.exchanges;
    assert.deepEqual(Object.fromEntries(form), {
      grant_type: 'client_credentials',
      scope: 'base',
      resource: vendor.url,
    });
    assert.equal(proof, `Basic ${Buffer.from('robot:top-secret').toString('base64')}`);
    assert.match(await call('write'), /done/);
    assert.deepEqual(
      vendor.exchanges.map((one) => one.form.get('scope')),
      ['base', 'base write'],
    );
    assert.deepEqual(vendor.calls.at(-1), { tool: 'write', scopes: ['base', 'write'] });
    assert.match(await call('read'), /done/);
    assert.equal(vendor.exchanges.length, 2);
    assert.equal(await state(), 'connected');
  });

  test('does not go round in circles where no token is enough', async () => {
    await apply(MACHINE);
    assert.match(await call('read'), /done/);
    for (const _ of [1, 2, 3]) assert.match(await call('never'), /The call was not made/);
    assert.equal(vendor.calls.filter(({ tool }) => tool === 'never').length <= 6, true);
    assert.ok(vendor.exchanges.length <= 3, `${vendor.exchanges.length} tokens were asked for`);
    assert.match(await call('read'), /done/);
  });

  test('that the vendor does not know needs somebody, who learns why', async () => {
    vendor.deny = () => ({ status: 401, error: 'invalid_client' });
    await apply(MACHINE);
    const connected = await cli(['mcp', 'connect', name]);
    assert.equal(connected.code, 69);
    assert.match(connected.stderr, /cannot be signed in to: .* issued no token \(invalid_client\)/);
    assert.equal(await state(), 'needs_auth');
    const asked = vendor.exchanges.length;
    await call('read');
    assert.ok(vendor.exchanges.length <= asked + 1, 'it waits before it asks again');
  });

  test('is told that nobody signs in for it', async () => {
    await apply(MACHINE);
    const { code, stderr } = await cli(['mcp', 'login', name]);
    assert.equal(code, 1);
    assert.match(stderr, /needs nobody to sign in/);
  });

  test('is refused with fields that only people use, or without what proves it', async () => {
    const rejected = async (auth: object, said: RegExp) => {
      const server = { kind: 'Server', metadata: { name }, spec: { url: vendor.url, auth } };
      assert.match((await cli(['apply', '-f', '-'], JSON.stringify(server))).stderr, said);
    };
    const { clientId: _, ...nobody } = MACHINE;
    await rejected(nobody, /auth\.clientId: is missing: grant: client_credentials needs it/);
    const { clientSecret: __, ...unproven } = MACHINE;
    await rejected(unproven, /auth\.clientSecret: is missing: .* or privateKey/);
    await rejected(
      { ...MACHINE, redirectUri: 'https://a.example/x' },
      /redirectUri: has no meaning with grant/,
    );
    await rejected(
      { ...MACHINE, credentials: 'per-user' },
      /credentials: per-user has no meaning with grant/,
    );
    await rejected({ ...MACHINE, privateKey: `\${secret:machine.k}` }, /privateKey: is another proof/);
    await rejected({ ...MACHINE, grant: 'password' }, /grant: has one value alone: client_credentials/);
    await rejected({ ...unproven, privateKey: 'in-clear' }, /privateKey: is written in plain text/);
    await apply({ ...unproven, privateKey: `\${secret:machine.k}` });
    assert.match((await cli(['mcp', 'list'])).stdout, /auth\.privateKey: is no private key: give a PEM/);
  });
});
