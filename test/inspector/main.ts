import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { packageVersion } from '../../src/cli/package-version.ts';
import { administrate, newAgent, writeConfig } from '../support/agent.ts';
import { holdingPolicy } from '../support/held-calls.ts';
import { OracleUpstream } from '../support/oracle-upstream.ts';
import { startCastellan } from '../support/running-castellan.ts';
import { inspectorVersion } from './inspector.ts';
import { type Validation, validate } from './validation.ts';

const USAGE = `usage: scripts/validate-mcp-client [--json]

Runs the Inspector's command line against a Castellan of its own, over stdio and HTTP, in both revisions: it lists the
tools, makes a call that is held, has it approved, and gets the outcome. Exit 0 when all went as it should, else 1.
`;

const { values } = parseArgs({
  options: { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
});
if (values.help) process.stdout.write(USAGE);
else process.exitCode = await main(values.json === true);

async function main(json: boolean): Promise<number> {
  const folder = await mkdtemp(path.join(tmpdir(), 'castellan-inspector-'));
  try {
    await using oracle = await OracleUpstream.start('modern', ['delete']);
    const config = await writeConfig(
      path.join(folder, 'castellan.json'),
      { notes: { url: oracle.url } },
      { demo: { servers: ['notes'] } },
    );
    await using castellan = await startCastellan(['--config', config]);
    await administrate(castellan, 'PUT', '/policies/humans-first', holdingPolicy(['notes__delete']));
    const { token = '' } = await newAgent(castellan, 'demo');
    const about = { castellan: packageVersion(), inspector: await inspectorVersion(), node: process.version };
    const runs: Validation[] = [];
    for (const transport of ['stdio', 'http'] as const) {
      for (const era of ['legacy', 'modern'] as const) {
        const run = await validate({ castellan, oracle, token }, transport, era);
        runs.push(run);
        if (!json) process.stdout.write(transcript(run));
      }
    }
    const ok = runs.every((run) => run.ok);
    const report = { ok, ...about, date: new Date().toISOString(), runs };
    process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : summary(ok, about));
    return ok ? 0 : 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function transcript({ transport, era, steps }: Validation): string {
  const lines = steps.flatMap(({ name, ok, command, shown, calls, stderr }) => [
    `# ${ok ? 'ok' : 'FAILED'}: ${name}; the server has had ${calls} of it`,
    `$ ${command}`,
    typeof shown === 'string' ? shown : JSON.stringify(shown),
    ...(stderr ? [stderr.trim()] : []),
  ]);
  return `## ${transport}, ${era}\n\n${lines.join('\n')}\n\n`;
}

function summary(ok: boolean, about: Record<string, string>): string {
  const versions = Object.entries(about).map(([name, version]) => `${name} ${version}`);
  return `${ok ? 'ok' : 'FAILED'}: ${versions.join(', ')}\n`;
}
