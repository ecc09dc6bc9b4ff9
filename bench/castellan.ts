import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createWriteStream, existsSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type ChildProcesses, pathInBench } from './child-processes.ts';
import { countTools } from './client/wire.ts';
import { ERAS, VERSION } from './era.ts';
import {
  type CastellanAccess,
  callServer,
  changesProject,
  changesServer,
  FILES_SERVER,
  filesArgs,
  INTENTS,
  STDIO_KINDS,
  stdioArgs,
  stdioServer,
} from './scenarios.ts';
import { LIST_SERVERS, TOOLS_PER_LIST_SERVER, type UpstreamUrls } from './upstream/http-server.ts';

const START_TIMEOUT_MS = 20_000;
const POLL_MS = 5;
const CLI = pathInBench('../bin/castellan');
/** On the disk of the checkout: the temporary folder is often memory, which would make durable writes free. */
const SCRATCH = pathInBench('../node_modules/.cache');
const PROJECTS = ['calls', ...INTENTS.map(changesProject), ...ERAS.map((era) => `lists-${era}`)];

/** A Castellan in a temporary data directory, driven only through its command line and its HTTP endpoints. */
export class Castellan implements AsyncDisposable {
  readonly #children: ChildProcesses;
  readonly #directory: string;
  readonly #port: number;
  #child: ChildProcess | undefined;
  #tokens: Record<string, string> = {};

  private constructor(children: ChildProcesses, directory: string, port: number) {
    this.#children = children;
    this.#directory = directory;
    this.#port = port;
  }

  /** Makes the data directory and one token per project, which takes a first start; then stops it again. */
  static async prepare(
    children: ChildProcesses,
    stack: AsyncDisposableStack,
    upstream: UpstreamUrls,
  ): Promise<Castellan> {
    await mkdir(SCRATCH, { recursive: true });
    const directory = await mkdtemp(join(SCRATCH, 'castellan-bench-'));
    const castellan = stack.use(new Castellan(children, directory, await freePort()));
    await writeFile(castellan.#path('config.yaml'), configOf(upstream));
    castellan.#spawn();
    await castellan.#until('/readyz answers', async () => (await fetch(`${castellan.url}/readyz`)).ok);
    for (const project of PROJECTS) castellan.#tokens[project] = await castellan.#createToken(project);
    await castellan.stop();
    return castellan;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get access(): CastellanAccess {
    return { url: this.url, tokens: this.#tokens };
  }

  get pid(): number {
    return this.#child!.pid!;
  }

  /** Starts it; milliseconds from the start of the process to the first complete tools/list of ten cold servers. */
  async start(): Promise<number> {
    const started = performance.now();
    this.#spawn();
    await this.#until('tools/list is complete', () => this.#listIsComplete());
    return performance.now() - started;
  }

  async stop(): Promise<void> {
    if (this.#child !== undefined) await this.#children.stop(this.#child);
    this.#child = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }

  #spawn(): void {
    const args = ['serve', '--config', this.#path('config.yaml'), '--port', String(this.#port)];
    const child = spawn(process.execPath, [CLI, ...args, '--data-dir', this.#path('data')], {
      env: cleanEnvironment(),
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr.pipe(createWriteStream(this.#path('stderr.log'), { flags: 'a' }));
    this.#child = this.#children.adopt(child);
  }

  async #createToken(project: string): Promise<string> {
    const args = ['create', 'mcptoken', 'bench', '-p', project, '--rbac', 'clone'];
    const run = promisify(execFile);
    const { stdout } = await run(process.execPath, [CLI, ...args, '--data-dir', this.#path('data')], {
      env: cleanEnvironment(),
      timeout: START_TIMEOUT_MS,
    });
    return stdout.trim();
  }

  async #listIsComplete(): Promise<boolean> {
    const response = await fetch(`${this.url}/projects/lists-legacy/mcp`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        authorization: `Bearer ${this.#tokens['lists-legacy']}`,
      },
      body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
    });
    return countTools(await response.text()) === LIST_SERVERS * TOOLS_PER_LIST_SERVER;
  }

  /** Polls, because readiness is seen from outside alone; a process that ended says why on its stderr. */
  async #until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (performance.now() < deadline && this.#child?.exitCode === null) {
      if (await condition().catch(() => false)) return;
      await delay(POLL_MS);
    }
    const log = this.#path('stderr.log');
    const tail = existsSync(log) ? readFileSync(log, 'utf8').slice(-2000) : '';
    throw new Error(`Castellan ended, or ${START_TIMEOUT_MS} ms passed, before ${what}:\n${tail}`);
  }
}

/** The caller's own CASTELLAN_* settings must not reach the one under test. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('CASTELLAN_')));
}

/**
 * YAML is a superset of JSON, so each document is written as JSON. Defaults everywhere but for who shares a process: no
 * tuning for the benchmark.
 */
function configOf(upstream: UpstreamUrls): string {
  const documents: object[] = [];
  const add = (kind: string, name: string, spec: object) =>
    documents.push({ apiVersion: 'castellan/v1', kind, metadata: { name }, spec });
  for (const era of ERAS) {
    const tools = { readOnly: ['*'] };
    add('Server', callServer(era), { url: upstream[era].call, tools });
    for (const kind of STDIO_KINDS) {
      add('Server', stdioServer(kind, era), {
        ...shared(stdioArgs(kind, era)),
        protocol: VERSION[era],
        tools,
      });
    }
    add('Server', changesServer(era), { url: upstream[era].call });
    const lists = upstream[era].lists.map((url, index) => ({ name: `list-${era}-${index}`, url }));
    for (const { name, url } of lists) add('Server', name, { url });
    add('Project', `lists-${era}`, { servers: lists.map((list) => list.name) });
  }
  const files = { ...shared(filesArgs()), protocol: VERSION.legacy };
  add('Server', FILES_SERVER, { ...files, tools: { readOnly: ['*'] } });
  const echoes = ERAS.flatMap((era) => [
    callServer(era),
    ...STDIO_KINDS.map((kind) => stdioServer(kind, era)),
  ]);
  add('Project', 'calls', { servers: [...echoes, FILES_SERVER] });
  for (const intent of INTENTS)
    add('Project', changesProject(intent), { servers: ERAS.map(changesServer), audit: { intent } });
  return documents.map((document) => JSON.stringify(document)).join('\n---\n');
}

/** One process for everybody, as where several agents use one server. */
const shared = (args: string[]) => ({ command: process.execPath, args, isolation: 'shared' });

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
