import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Browser } from 'playwright-core';
import { openBrowser, profile } from '../support/browser.ts';
import { newPerson, PASSWORD } from '../support/person.ts';
import { startCastellan } from '../support/running-castellan.ts';
import { type Check, runOfficialTool } from './official-tool.ts';
import type { SuiteRelease } from './suites.ts';

const EMAIL = 'suite@example.com';
/** What the tool prints for a person to open. */
const PAGE = /^http:\/\/\S+\/authorize\?\S+$/m;

export type AuthorizationServer = AsyncDisposable & {
  /** One run of the suite, which asks the server by this name. */
  check(release: SuiteRelease, hostname: string, folder: string): Promise<Check[]>;
};

/** Starts a Castellan, and a browser that does what the suite's person would. */
export async function startAuthorizationServer(): Promise<AuthorizationServer> {
  await using cleanup = new AsyncDisposableStack();
  const castellan = cleanup.use(await startCastellan());
  await newPerson(castellan, EMAIL);
  const browser = cleanup.adopt(await openBrowser(), (one) => one.close());
  const resources = cleanup.move();
  return {
    check: async (release, hostname, folder) => {
      // A client for each run, so that none has what another was allowed.
      const client = `suite-${hostname.replaceAll('.', '-')}`;
      const fields = ['--auth', 'none', '--redirect-uri', 'http://127.0.0.1/callback'];
      const made = await castellan.cli('create', 'oauthclient', client, ...fields);
      if (made.code !== 0) throw new Error(made.stderr);
      const url = new URL(castellan.url);
      url.hostname = hostname;
      const port = String(await freePort());
      const resource = `${url.origin}/projects/demo/mcp`;
      const args = ['--url', url.origin, '--client-id', client, '--resource', resource, '--port', port];
      let allowed: Promise<void> | undefined;
      const checks = await runOfficialTool(release, ['authorization', ...args], folder, {}, (output) => {
        const [page] = PAGE.exec(output) ?? [];
        // A page that does not open shows in the checks: nobody comes back to the tool.
        if (page !== undefined) allowed ??= allow(browser, page).catch((error) => console.error(error));
      });
      await allowed;
      return checks;
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

async function allow(browser: Browser, url: string): Promise<void> {
  const context = await profile(browser);
  try {
    const page = await context.newPage();
    await page.goto(url);
    await page.fill('#email', EMAIL);
    await page.fill('#password', PASSWORD);
    await page.click('main button');
    await page.click('button[value=allow]');
    await page.waitForURL((at) => at.pathname === '/callback');
  } finally {
    await context.close();
  }
}

/** The tool wants to be told where to listen. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
