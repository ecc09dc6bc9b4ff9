import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { LAUNCHER } from '../support/stdio-client.ts';

const MANIFEST = createRequire(import.meta.url).resolve('@modelcontextprotocol/inspector/package.json');
const PROGRAM = path.join(path.dirname(MANIFEST), 'clients/launcher/build/index.js');
const TIMEOUT_MS = 60_000;

export type Transport = 'stdio' | 'http';
export type InspectorEra = 'legacy' | 'modern';

/** How the Inspector reaches Castellan. */
export type Way = { transport: Transport; era: InspectorEra; url: string; token: string; dataDir: string };

export type InspectorRun = {
  /** As a person would type it, the token as a variable. */
  command: string;
  exitCode: number | null;
  stdout: string;
  stderr: string;
};

export async function inspectorVersion(): Promise<string> {
  return (JSON.parse(await readFile(MANIFEST, 'utf8')) as { version: string }).version;
}

/** Runs the Inspector's command line to its end with one method. */
export async function inspect(way: Way, method: readonly string[]): Promise<InspectorRun> {
  const { transport, era, url, token, dataDir } = way;
  const asked = ['--protocol-era', era, '--format', 'json', '--method', ...method];
  const header = (value: string) => ['--header', `Authorization: Bearer ${value}`];
  const served = ['mcp-serve', '--data-dir', dataDir, '-p', 'demo'];
  const args =
    transport === 'http'
      ? [url, '--transport', 'http', ...asked, ...header(token)]
      : [...asked, '--', process.execPath, LAUNCHER, ...served];
  const typed =
    transport === 'http'
      ? [url, '--transport', 'http', ...asked, ...header('$CASTELLAN_TOKEN')]
      : [...asked, '--', 'castellan', 'mcp-serve', '--data-dir', '$DATA_DIR', '-p', 'demo'];
  const child = spawn(process.execPath, [PROGRAM, '--cli', ...args], {
    env: { ...process.env, MCP_INSPECTOR_SECRET_STORE: 'memory' },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT_MS,
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const exitCode = await new Promise<number | null>((resolve) => child.on('close', resolve));
  return { command: `mcp-inspector --cli ${typed.map(quoted).join(' ')}`, exitCode, stdout, stderr };
}

function quoted(word: string): string {
  if (/^[\w$:/.,@=-]+$/.test(word)) return word;
  return word.includes('$') ? `"${word}"` : `'${word}'`;
}
