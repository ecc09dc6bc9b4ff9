import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { SuiteRelease } from './suites.ts';

export type Check = {
  /** `scenario:check-id` */
  key: string;
  status: 'SUCCESS' | 'FAILURE' | 'WARNING' | 'SKIPPED' | 'INFO';
  message: string;
};

const require = createRequire(import.meta.url);
const ENTRY: Record<SuiteRelease, string> = {
  '0.1': require.resolve('conformance-0.1/dist/index.js'),
  '0.2': require.resolve('@modelcontextprotocol/conformance/dist/index.js'),
};
const RUN_TIMEOUT_MS = 150_000;

/** One run of the official tool; `folder` receives what it writes, `hear` its output so far whenever it grows. */
export async function runOfficialTool(
  release: SuiteRelease,
  args: readonly string[],
  folder: string,
  env: Record<string, string> = {},
  hear: (output: string) => void = () => {},
): Promise<Check[]> {
  await mkdir(folder, { recursive: true });
  const { code, output } = await execute([ENTRY[release], ...args, '-o', folder], env, hear);
  const checks = await readChecks(folder);
  // Against a client a warning fails a scenario too; against a server it does not.
  const telling = (check: Check) =>
    check.status === 'FAILURE' || (args[0] === 'server' && check.status === 'WARNING');
  if (code !== 0 && !checks.some(telling))
    checks.push({ key: `${scenarioOf(args)}:exit`, status: 'FAILURE', message: lastLines(output) });
  return checks;
}

function execute(
  argv: string[],
  env: Record<string, string>,
  hear: (output: string) => void,
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const options = { env: { ...process.env, ...env }, timeout: RUN_TIMEOUT_MS };
    const child = spawn(process.execPath, argv, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    const collect = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-64 * 1024);
      hear(output);
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, output }));
  });
}

async function readChecks(folder: string): Promise<Check[]> {
  const found: Check[] = [];
  for (const entry of await readdir(folder, { recursive: true })) {
    if (path.basename(entry) !== 'checks.json') continue;
    const scenario = scenarioOfFolder(path.dirname(entry));
    const checks: { id: string; status: Check['status']; errorMessage?: string }[] = JSON.parse(
      await readFile(path.join(folder, entry), 'utf8'),
    );
    for (const { id, status, errorMessage } of checks)
      found.push({ key: `${scenario}:${id}`, status, message: errorMessage ?? '' });
  }
  return found;
}

/** The tool names a folder `server-SCENARIO-TIME`, or `SCENARIO-TIME` for clients. */
function scenarioOfFolder(folder: string): string {
  return folder.replace(/^server-/, '').replace(/-\d{4}-\d\d-\d\dT[\d-]+Z$/, '');
}

function scenarioOf(args: readonly string[]): string {
  return args[args.indexOf('--scenario') + 1] ?? 'suite';
}

function lastLines(output: string): string {
  return output.trim().split('\n').slice(-6).join(' | ');
}
