import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import type { Era } from '../era.ts';
import { LineSplitter } from '../line-splitter.ts';
import type { Lanes } from './http-lanes.ts';
import type { Job } from './job.ts';
import { faultOf, INITIALIZE, INITIALIZED, RequestTexts } from './wire.ts';

/** Servers that were started, by era and arguments. A gateway's go on from window to window too, and are warm. */
const servers = new Map<string, StdioServer>();

/** The direct way to a stdio server: its child process, with as many requests on its pipes as there are lanes. */
export async function openStdioLanes(job: Job, args: string[]): Promise<Lanes> {
  const key = JSON.stringify([job.era, args]);
  const server = servers.get(key) ?? (await StdioServer.start(args, job.era));
  servers.set(key, server);
  const texts = new RequestTexts(job.era, job.operation, job.tool);
  const run = (done: (fault: string | undefined) => void) =>
    server.ask(
      (id) => texts.body(id, undefined),
      (id, line) => {
        const fault = faultOf(job.operation, id, line);
        done(fault === undefined ? undefined : `${fault}: ${line.slice(0, 400)}`);
      },
    );
  const lanes = Array.from({ length: job.concurrency }, () => ({ run }));
  return { lanes, childPid: server.pid, close: async () => {} };
}

/** It ends with the load client, whose pipes it reads. Requests of one turn leave in one write. */
class StdioServer {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #waiting = new Map<number, (id: number, line: string) => void>();
  #nextId = 0;
  #outgoing = '';

  private constructor(args: string[]) {
    this.#child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const splitter = new LineSplitter();
    this.#child.stdout.on('data', (chunk: Buffer) => {
      for (const line of splitter.push(chunk)) {
        const id = idIn(line);
        const onAnswer = this.#waiting.get(id);
        this.#waiting.delete(id);
        onAnswer?.(id, line);
      }
    });
  }

  static async start(args: string[], era: Era): Promise<StdioServer> {
    const server = new StdioServer(args);
    if (era === 'legacy') {
      await new Promise<void>((resolve) =>
        server.ask(
          () => INITIALIZE,
          () => resolve(),
        ),
      );
      server.#child.stdin.write(`${INITIALIZED}\n`);
    }
    return server;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** The first id is 0, as `INITIALIZE` has it. */
  ask(body: (id: number) => string, onAnswer: (id: number, line: string) => void): void {
    const id = this.#nextId++;
    this.#waiting.set(id, onAnswer);
    if (this.#outgoing === '') setImmediate(() => this.#flush());
    this.#outgoing += `${body(id)}\n`;
  }

  #flush(): void {
    this.#child.stdin.write(this.#outgoing);
    this.#outgoing = '';
  }
}

/** Where the envelope begins or ends with the id, as servers write it, that costs no parse. */
function idIn(line: string): number {
  const start = '{"jsonrpc":"2.0","id":';
  if (line.startsWith(start)) return Number.parseInt(line.slice(start.length, start.length + 16), 10);
  const end = /"id":(\d+)\}$/.exec(line.slice(-32))?.[1];
  return end === undefined ? (JSON.parse(line) as { id: number }).id : Number(end);
}
