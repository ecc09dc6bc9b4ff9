import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { LineSplitter } from '../line-splitter.ts';
import type { Lane } from './closed-loop.ts';
import type { Lanes } from './http-lanes.ts';
import type { Job } from './job.ts';
import { faultOf, INITIALIZE, INITIALIZED, RequestTexts } from './wire.ts';

/**
 * The direct way to a stdio server: its child process, with as many requests on its pipes as there are lanes. Requests
 * of one turn leave in one write.
 */
export async function openStdioLanes(job: Job, args: string[]): Promise<Lanes> {
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting = new Map<number, (line: string) => void>();
  const splitter = new LineSplitter();
  const texts = new RequestTexts(job.era, job.operation, job.tool);
  let nextId = 1;
  let outgoing = '';

  child.stdout.on('data', (chunk: Buffer) => {
    for (const line of splitter.push(chunk)) {
      const id = idIn(line);
      const onAnswer = waiting.get(id);
      waiting.delete(id);
      onAnswer?.(line);
    }
  });

  const flush = () => {
    child.stdin.write(outgoing);
    outgoing = '';
  };
  const send = (id: number, body: string, onAnswer: (line: string) => void) => {
    waiting.set(id, onAnswer);
    if (outgoing === '') setImmediate(flush);
    outgoing += `${body}\n`;
  };
  const run: Lane['run'] = (done) => {
    const id = nextId++;
    send(id, texts.body(id, undefined), (line) => {
      const fault = faultOf(job.operation, id, line);
      done(fault === undefined ? undefined : `${fault}: ${line.slice(0, 400)}`);
    });
  };

  if (job.era === 'legacy') {
    await new Promise<string>((resolve) => send(0, INITIALIZE, resolve));
    child.stdin.write(`${INITIALIZED}\n`);
  }
  const close = async () => {
    const gone = once(child, 'exit');
    child.stdin.end();
    await gone;
  };
  return { lanes: Array.from({ length: job.concurrency }, () => ({ run })), childPid: child.pid, close };
}

/** Where the envelope begins or ends with the id, as servers write it, that costs no parse. */
function idIn(line: string): number {
  const start = '{"jsonrpc":"2.0","id":';
  if (line.startsWith(start)) return Number.parseInt(line.slice(start.length, start.length + 16), 10);
  const end = /"id":(\d+)\}$/.exec(line.slice(-32))?.[1];
  return end === undefined ? (JSON.parse(line) as { id: number }).id : Number(end);
}
