import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  Client,
  type OAuthClientProvider,
  type OAuthDiscoveryState,
  type StoredOAuthClientInformation,
  type StoredOAuthTokens,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client';
import type { OAuthClientProvider as OldOAuthClientProvider } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client as OldClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as OldTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { mintCredential } from '../../src/base/ids.ts';
import { temporaryFolder } from '../support/databases.ts';
import { newPerson, Person } from '../support/person.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const INFO = { name: 'test-client', version: '1.0.0' };
const ECHO = { name: 'everything__echo', arguments: { message: 'hello' } };
const ALICE = 'alice@example.com';
const REDIRECT = 'http://localhost:9/callback';

/** What an application keeps for the OAuth client of its SDK, which does everything else. */
class Memory implements OAuthClientProvider {
  readonly redirectUrl = REDIRECT;
  readonly clientMetadata = {
    client_name: 'An application',
    redirect_uris: [REDIRECT],
    grant_types: ['authorization_code', 'refresh_token'],
  };
  page: URL | undefined;
  kept: StoredOAuthTokens | undefined;
  #client: StoredOAuthClientInformation | undefined;
  #verifier = '';
  #found: OAuthDiscoveryState | undefined;

  clientInformation = () => this.#client;
  saveClientInformation = (client: StoredOAuthClientInformation) => {
    this.#client = client;
  };
  tokens = () => this.kept;
  saveTokens = (tokens: StoredOAuthTokens) => {
    this.kept = tokens;
  };
  redirectToAuthorization = (page: URL) => {
    this.page = page;
  };
  saveCodeVerifier = (verifier: string) => {
    this.#verifier = verifier;
  };
  codeVerifier = () => this.#verifier;
  saveDiscoveryState = (found: OAuthDiscoveryState) => {
    this.#found = found;
  };
  discoveryState = () => this.#found;
}

/** One SDK: `connect` rejects while nobody is signed in; `finish` takes what the browser brought back. */
type Sdk = {
  name: string;
  open(
    url: URL,
    memory: Memory,
  ): {
    connect(): Promise<{ echo(): Promise<object>; close(): Promise<void> }>;
    finish(back: URLSearchParams): Promise<void>;
  };
};

const SDKS: readonly Sdk[] = [
  ...(['legacy', { pin: '2026-07-28' }] as const).map((mode) => ({
    name: `SDK 2.4, ${mode === 'legacy' ? mode : mode.pin}`,
    open: (url: URL, memory: Memory) => {
      const transport = () => new StreamableHTTPClientTransport(url, { authProvider: memory });
      const first = transport();
      return {
        connect: async () => {
          const client = new Client(INFO, { versionNegotiation: { mode } });
          await client.connect(memory.kept ? transport() : first);
          return { echo: () => client.callTool(ECHO), close: () => client.close() };
        },
        finish: (back: URLSearchParams) => first.finishAuth(back),
      };
    },
  })),
  {
    name: 'SDK 1.32',
    open: (url, memory) => {
      const transport = () =>
        new OldTransport(url, { authProvider: memory as unknown as OldOAuthClientProvider });
      const first = transport();
      return {
        connect: async () => {
          const client = new OldClient(INFO);
          await client.connect((memory.kept ? transport() : first) as never);
          return { echo: () => client.callTool(ECHO), close: () => client.close() };
        },
        finish: (back) => first.finishAuth(back.get('code') ?? ''),
      };
    },
  },
];

describe('the OAuth clients of the SDKs, beginning with a bare 401', () => {
  let castellan: TestCastellan;
  before(async () => {
    castellan = await startCastellan();
    await newPerson(castellan, ALICE);
  });
  after(() => castellan[Symbol.asyncDispose]());

  for (const { name, open } of SDKS) {
    for (const host of ['localhost', '127.0.0.1']) {
      test(`${name} signs in, calls, and renews its token, by ${host}`, async () => {
        const url = new URL('/projects/demo/mcp', castellan.url);
        url.hostname = host;
        const memory = new Memory();
        const sdk = open(url, memory);
        await assert.rejects(sdk.connect(), /Unauthorized/);
        assert.ok(memory.page, 'it was told where somebody signs in');
        assert.equal(memory.page.origin, url.origin);
        assert.equal(memory.page.searchParams.get('resource'), url.href);
        assert.equal(memory.page.searchParams.get('scope'), 'mcp');
        const back = await new Person(url.href, ALICE).decide(memory.page);
        assert.equal(back.origin + back.pathname, REDIRECT);
        await sdk.finish(back.searchParams);

        const client = await sdk.connect();
        assert.match(JSON.stringify(await client.echo()), /Echo: hello/);
        const { access_token: before, refresh_token: refreshToken } = memory.kept!;
        // As after a day: the server knows this one no more.
        memory.kept = { ...memory.kept!, access_token: mintCredential('at') };
        assert.match(JSON.stringify(await client.echo()), /Echo: hello/);
        assert.notEqual(memory.kept.access_token, before);
        assert.notEqual(memory.kept.refresh_token, refreshToken);
        await client.close();
      });
    }
  }

  test('the Inspector on the command line signs in, and needs nobody the next time', async () => {
    const home = await temporaryFolder();
    const url = `${castellan.url}/projects/demo/mcp`;
    const first = await inspect(url, home, (page) => new Person(url, ALICE).decide(page));
    assert.deepEqual([first.code, /Echo: hello/.test(first.output)], [0, true], first.output);
    const second = await inspect(url, home, () => assert.fail('it asks for a person again'));
    assert.deepEqual([second.code, /Echo: hello/.test(second.output)], [0, true], second.output);
  });
});

/** One call of the Inspector, which prints the page where somebody signs in, and listens for what comes back. */
async function inspect(
  url: string,
  home: string,
  decide: (page: string) => Promise<URL>,
): Promise<{ code: number | null; output: string }> {
  const manifest = createRequire(import.meta.url).resolve('@modelcontextprotocol/inspector/package.json');
  const inspector = path.join(path.dirname(manifest), 'clients/launcher/build/index.js');
  const call = ['--method', 'tools/call', '--tool-name', ECHO.name, '--tool-arg', 'message=hello'];
  const back = ['--callback-url', 'http://127.0.0.1:0/oauth/callback'];
  const child = spawn(process.execPath, [inspector, '--cli', url, '--transport', 'http', ...call, ...back], {
    env: {
      ...process.env,
      HOME: home,
      BROWSER: 'true',
      MCP_AUTO_OPEN_ENABLED: 'true',
      MCP_INSPECTOR_SECRET_STORE: 'file',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let decided: Promise<unknown> | undefined;
  const hear = (chunk: Buffer) => {
    output += chunk.toString();
    const [, page] = /(http\S+\/authorize\?\S+)\s/.exec(output) ?? [];
    if (page === undefined || decided) return;
    decided = Promise.resolve(page).then(decide).then(fetch);
    decided.catch(() => child.kill());
  };
  child.stdout.on('data', hear);
  child.stderr.on('data', hear);
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  await decided;
  return { code, output };
}
