import { spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import { LineSplitter } from '../../src/protocol/lines.ts';

// A stdio child that misbehaves on request. `method` says how; `params` carry sizes. What it does at start comes as
// its first argument.

const write = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);
const answer = (id: unknown, result: object = {}) => write({ jsonrpc: '2.0', id, result });

/** A process that outlives its parent's exit: own session, closed pipes. `clean` gives it an empty environment. */
function leaveBehind({ clean = false } = {}): number {
  const args = ['-e', 'process.on("SIGTERM",()=>{});process.on("SIGHUP",()=>{});setInterval(()=>{},1000)'];
  const child = spawn(process.execPath, args, {
    detached: true,
    stdio: 'ignore',
    ...(clean ? { env: {} } : {}),
  });
  child.unref();
  return child.pid ?? 0;
}

/** The child of a shell that has already exited: its parent is init. */
function doubleFork(): Promise<number> {
  const shell = spawn('/bin/sh', ['-c', 'setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return new Promise((resolve) => {
    let text = '';
    shell.stdout.on('data', (data) => {
      text += data;
    });
    shell.on('close', () => resolve(Number(text)));
  });
}

type Request = { id?: unknown; method: string; params?: Record<string, number | string> };

const acts: Record<string, (request: Request) => unknown> = {
  echo: ({ id, params }) => answer(id, params),
  environment: ({ id }) => answer(id, { env: process.env, args: process.argv, cwd: process.cwd() }),
  silence: () => undefined,
  exit: ({ params }) => {
    process.stderr.write('fatal: the disk is full\n', () => process.exit(Number(params?.code ?? 3)));
  },
  answerThenExit: ({ id }) => {
    process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', id, result: { last: true } })}\n`, () =>
      process.exit(0),
    );
  },
  killSelf: () => process.kill(process.pid, 'SIGKILL'),
  big: ({ id, params }) => answer(id, { text: 'x'.repeat(Number(params?.bytes)) }),
  garbage: ({ id, params }) => {
    for (let line = 0; line < Number(params?.lines); line += 1)
      process.stdout.write(`DEBUG not json ${line}\n`);
    answer(id);
  },
  oddAnswers: ({ id }) => {
    process.stdout.write(
      `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{},"error":{"code":1,"message":"both"}}\n`,
    );
    process.stdout.write('[]\n{"jsonrpc":"1.0"}\n{"id":\n\n\r\n');
    write({ jsonrpc: '2.0', id: 'nobody', result: {} });
    write({ jsonrpc: '2.0', id: null, error: { code: -32700, message: 'x' } });
    write({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info' } });
    answer(id, { first: true });
    answer(id, { second: true });
  },
  endlessLine: () => {
    const chunk = 'x'.repeat(64 * 1024);
    let left = 100 * 16;
    const more = () => {
      while (left-- > 0) if (!process.stdout.write(chunk)) return process.stdout.once('drain', more);
    };
    more();
  },
  stderrFlood: ({ id, params }) => {
    const chunk = Buffer.from(`${'noise '.repeat(20)}\n`.repeat(500));
    let left = Math.ceil(Number(params?.bytes) / chunk.length);
    const more = () => {
      while (left-- > 0) if (!process.stderr.write(chunk)) return process.stderr.once('drain', more);
      answer(id);
    };
    more();
  },
  stopReading: ({ id }) => {
    answer(id);
    setImmediate(() => process.stdin.pause());
  },
  closeOutput: () => closeSync(1),
  leaveBehind: ({ id, params }) => answer(id, { pid: leaveBehind({ clean: params?.clean === 1 }) }),
  doubleFork: async ({ id }) => answer(id, { pid: await doubleFork() }),
};

const [start = ''] = process.argv.slice(2);
if (start === 'crash') {
  process.stderr.write('Error: API_KEY is missing\n');
  process.exit(7);
}
if (start === 'stubborn') {
  process.on('SIGTERM', () => undefined);
  setInterval(() => undefined, 1000);
}
if (start === 'wrapped') {
  // As npx does: the server is a grandchild behind a shell, on the same pipes.
  const inner = spawn('/bin/sh', ['-c', '"$0" "$1"; exit $?', process.execPath, import.meta.filename], {
    stdio: 'inherit',
  });
  inner.on('exit', (code) => process.exit(code ?? 1));
} else {
  const splitter = new LineSplitter(Number.POSITIVE_INFINITY, {
    onLine: (line) => {
      const request = JSON.parse(line) as Request;
      void acts[request.method]?.(request);
    },
    onOverflow: () => undefined,
  });
  process.stdin.on('data', (chunk: Buffer) => splitter.push(chunk));
}
