import { existsSync } from 'node:fs';
import AxeBuilder from '@axe-core/playwright';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';

const CHROMIUM = process.env.CASTELLAN_TEST_CHROMIUM ?? '/usr/bin/chromium';
/** It speaks to nobody but the pages that a test opens. */
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Why there is no browser to test with; undefined when there is one. With `CI=true` there has to be. */
export function browserMissing(): string | undefined {
  if (existsSync(CHROMIUM)) return undefined;
  const missing = `there is no ${CHROMIUM}; install chromium, or set CASTELLAN_TEST_CHROMIUM`;
  if (process.env.CI === 'true') throw new Error(missing);
  return missing;
}

/** @param elsewhere a name beside those of this machine that there is, and the port here that answers for it */
export function openBrowser(elsewhere?: { name: string; port: number }): Promise<Browser> {
  const rules = ['MAP * ~NOTFOUND', 'EXCLUDE localhost', 'EXCLUDE 127.0.0.1'];
  if (elsewhere) rules.unshift(`MAP ${elsewhere.name} 127.0.0.1:${elsewhere.port}`);
  const args = [...FLAGS, `--host-resolver-rules=${rules.join(', ')}`];
  return chromium.launch({ executablePath: CHROMIUM, headless: true, args });
}

/** A person's own browser profile; ours run no script unless asked to. */
export async function profile(
  browser: Browser,
  options: { script?: boolean; width?: number; dark?: boolean } = {},
): Promise<BrowserContext> {
  const { script = false, width = 1280, dark = false } = options;
  const context = await browser.newContext({
    javaScriptEnabled: script,
    viewport: { width, height: 800 },
    ignoreHTTPSErrors: true,
    colorScheme: dark ? 'dark' : 'light',
  });
  context.setDefaultTimeout(15_000);
  return context;
}

/** What axe finds wrong with the page, a line each. The page's profile has to run scripts. */
export async function accessibilityFaults(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).analyze();
  return violations.flatMap(({ id, nodes }) => nodes.map(({ target }) => `${id}: ${target.join(' ')}`));
}
