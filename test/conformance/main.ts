/**
 * `npm run conformance [-- --direct] [-- --suite NAME]`: the official suite through Castellan, in front of servers of
 * either era, and against its authorization server. `--direct` leaves Castellan out; `--suite` takes the suites whose
 * name contains NAME; `--keep` leaves what the tool wrote in its folder and prints warnings too.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { browserMissing } from '../support/browser.ts';
import { startCastellan } from '../support/running-castellan.ts';
import { type AuthorizationServer, startAuthorizationServer } from './authorization.ts';
import { type ExpectedFailure, judge, readExpectedFailures } from './expected-failures.ts';
import { startFixture } from './fixture/server.ts';
import { type Gateway, startGateway, type Upstream } from './gateway.ts';
import { type Check, runOfficialTool } from './official-tool.ts';
import type { CastellanAtHand } from './operator.ts';
import { AUTHORIZATION, CLIENT_AUTH, notRun, SUITES, type Suite } from './suites.ts';

const CLIENT = fileURLToPath(new URL('client-main.ts', import.meta.url));

type Options = { direct: boolean; keep: boolean; folder: string };

const { values } = parseArgs({
  options: {
    direct: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    suite: { type: 'string' },
  },
});
process.exitCode = await main(values.direct, values.keep, values.suite ?? '');

async function main(direct: boolean, keep: boolean, filter: string): Promise<number> {
  const suites = SUITES.filter(
    (suite) =>
      suite.name.includes(filter) && (!direct || suite.atLeastDirectly > 0) && !isSkipped(suite.name),
  );
  if (suites.length === 0) throw new Error(`no suite has ${filter} in its name`);
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(tmpdir(), 'castellan-conformance-results-'));
  if (keep) console.log(`results: ${folder}`);
  else cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const upstreams: Upstream[] = [];
  for (const { name, upstream } of suites) {
    if (!upstream) continue;
    const fixture = cleanup.use(await startFixture(upstream.form));
    upstreams.push({ name: projectOf(name), url: fixture.url, protocol: upstream.protocol });
  }
  const gateway = direct || upstreams.length === 0 ? undefined : cleanup.use(await startGateway(upstreams));
  const authorization = suites.some(({ name }) => name === AUTHORIZATION)
    ? cleanup.use(await startAuthorizationServer())
    : undefined;
  const shared = suites.some(({ name }) => name === CLIENT_AUTH)
    ? cleanup.use(await startCastellan([]))
    : undefined;
  const expectations = direct
    ? []
    : await readExpectedFailures(new URL('expected-failures.yaml', import.meta.url));
  const servers = { gateway, authorization, shared };
  const results = await runAll(suites, upstreams, servers, { direct, keep, folder });
  return report(suites, results, expectations, { direct, keep, folder });
}

/** Runs as many at a time as there are processors: each is a process that mostly waits for answers. */
async function runAll(
  suites: Suite[],
  upstreams: Upstream[],
  {
    gateway,
    authorization,
    shared,
  }: {
    gateway: Gateway | undefined;
    authorization: AuthorizationServer | undefined;
    shared: CastellanAtHand | undefined;
  },
  options: Options,
): Promise<Map<string, Check[]>> {
  const results = new Map<string, Check[]>(suites.map(({ name }) => [name, []]));
  const jobs = suites.flatMap((suite) =>
    suite.runs.map((args, index) => async () => {
      const project = projectOf(suite.name);
      const direct = upstreams.find(({ name }) => name === project)?.url;
      const url = direct === undefined ? undefined : (gateway?.proxied(project) ?? direct);
      const folder = path.join(options.folder, suite.name, String(index));
      const env = {
        CONFORMANCE_DIRECT: options.direct ? '1' : '0',
        CONFORMANCE_CASTELLAN: JSON.stringify(shared && { url: shared.url, dataDir: shared.dataDir }) ?? '',
      };
      const checks =
        suite.name === AUTHORIZATION
          ? await authorization!.check(suite.release, args[0]!, folder)
          : await runOfficialTool(suite.release, commandLine(url, args), folder, env);
      results.get(suite.name)!.push(...checks);
    }),
  );
  const queue = jobs.values();
  const lanes = Array.from({ length: Math.max(2, availableParallelism()) }, async () => {
    for (const job of queue) await job();
  });
  await Promise.all(lanes);
  return results;
}

/** Says so where there is no browser for what needs one. */
function isSkipped(suite: string): boolean {
  const missing = suite === AUTHORIZATION ? browserMissing() : undefined;
  if (missing !== undefined) console.log(`suite ${suite}: skipped, ${missing}`);
  return missing !== undefined;
}

function commandLine(url: string | undefined, args: string[]): string[] {
  if (url !== undefined) return ['server', '--url', url, ...args];
  return ['client', '--command', `${process.execPath} ${CLIENT}`, ...args];
}

/** Short, because a project's name takes room from the names of its tools. */
function projectOf(suite: string): string {
  return `s${SUITES.findIndex(({ name }) => name === suite)}`;
}

function report(
  suites: Suite[],
  results: Map<string, Check[]>,
  expectations: ExpectedFailure[],
  options: Options,
): number {
  let passed = 0;
  let failed = 0;
  for (const suite of suites) {
    const checks = results.get(suite.name)!;
    const judged = checks.filter(({ status }) => status === 'SUCCESS' || status === 'FAILURE').length;
    const least = options.direct ? suite.atLeastDirectly : suite.atLeast;
    if (judged < least) {
      const message = `${judged} checks were made, ${least} were due`;
      checks.push({ key: 'suite:too-few-checks', status: 'FAILURE', message });
    }
    const verdict = judge(suite.name, checks, expectations);
    passed += verdict.passed;
    failed += verdict.unexpected.length;
    const counts = `${verdict.passed} passed, ${verdict.unexpected.length} failed, ${verdict.expected} expected`;
    console.log(`suite ${suite.name}: ${counts}`);
    for (const line of verdict.unexpected) console.log(`  ${line}`);
    if (!options.keep) continue;
    for (const { key, status, message } of checks)
      if (status === 'WARNING') console.log(`  warning ${key}: ${message}`);
  }
  for (const [scenario, reason] of notRun()) console.log(`not scored, not run: ${scenario}: ${reason}`);
  console.log(`${passed} passed, ${failed} failed`);
  return failed > 0 ? 1 : 0;
}
