import { spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { LineSplitter } from '../../src/protocol/lines.ts';

// A stdio MCP server whose tools misbehave as they are called. Arguments: a file to which it appends `start PID` and
// then each method that it hears, and optionally how it behaves from the start: `crash`, `mute`, `garbage`, `slow`.

const [journal = '', manner = ''] = process.argv.slice(2);
const note = (line: string) => appendFileSync(journal, `${line}\n`);
note(`start ${process.pid}`);

const write = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);
const reply = (id: unknown, result: object) => write({ jsonrpc: '2.0', id, result });
const says = (id: unknown, text: string) => reply(id, { content: [{ type: 'text', text }] });

/** Writes until `bytes` are out, as fast as the reader takes it. */
function pour(stream: NodeJS.WriteStream, chunk: Buffer, bytes: number, done: () => void): void {
  let left = Math.ceil(bytes / chunk.length);
  const more = () => {
    while (left-- > 0) if (!stream.write(chunk)) return stream.once('drain', more);
    done();
  };
  more();
}

type Arguments = { text?: string };

const tools: Record<string, (id: unknown, args: Arguments, progressToken: unknown) => unknown> = {
  echo: (id, { text }) => says(id, `${process.pid} ${text}`),
  crash: () => process.stderr.write('fatal: the disk is full\n', () => process.exit(3)),
  hang: () => undefined,
  garbage: (id) => {
    for (let line = 0; line < 500; line += 1) process.stdout.write(`DEBUG {not json ${line}\n`);
    process.stdout.write(
      '[]\n{"jsonrpc":"1.0"}\n\u0000\u0001\n{"jsonrpc":"2.0","id":"nobody","result":{}}\n',
    );
    says(id, 'after the garbage');
  },
  babble: () =>
    pour(process.stdout, Buffer.from('{"level":"info"}\n'.repeat(4000)), Number.MAX_SAFE_INTEGER, () => {}),
  noise: (id) =>
    pour(process.stderr, Buffer.from(`${'noise '.repeat(20)}\n`.repeat(500)), 64 << 20, () =>
      says(id, 'after the noise'),
    ),
  line: () => pour(process.stdout, Buffer.alloc(1 << 20, 'x'), 100 << 20, () => {}),
  tick: (_, __, progressToken) => {
    write({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken, progress: 1 } });
  },
  grow: (id) => {
    tools[`grown${Object.keys(tools).length}`] = (other) => says(other, 'new');
    says(id, 'grown');
    for (let burst = 0; burst < 50; burst += 1)
      write({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' });
  },
  leave: (id) => {
    const child = spawn('/bin/sh', ['-c', 'setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!']);
    child.stdout.once('data', (pid) => says(id, String(pid).trim()));
  },
};

type Request = {
  id?: unknown;
  method: string;
  params?: { name?: string; arguments?: Arguments; _meta?: { progressToken?: unknown } };
};

function serve({ id, method, params }: Request): unknown {
  note(method === 'tools/call' ? `${method} ${params?.name}` : method);
  if (manner === 'mute') return undefined;
  if (method === 'initialize') {
    const capabilities = { tools: { listChanged: true } };
    const serverInfo = { name: 'hostile', version: '1' };
    return reply(id, { protocolVersion: '2025-11-25', capabilities, serverInfo });
  }
  if (method === 'tools/list') {
    return reply(id, {
      tools: Object.keys(tools).map((name) => ({ name, inputSchema: { type: 'object' } })),
    });
  }
  const tool = method === 'tools/call' ? tools[params?.name ?? ''] : undefined;
  if (tool) return tool(id, params?.arguments ?? {}, params?._meta?.progressToken);
  if (id !== undefined) write({ jsonrpc: '2.0', id, error: { code: -32601, message: 'unknown method' } });
  return undefined;
}

if (manner === 'crash') {
  process.stderr.write('Error: API_KEY is missing\n');
  process.exit(7);
}
if (manner === 'garbage') process.stdout.write('Welcome!\n'.repeat(5000));
const splitter = new LineSplitter(Number.POSITIVE_INFINITY, {
  onLine: (line) => serve(JSON.parse(line) as Request),
  onOverflow: () => undefined,
});
const read = () => process.stdin.on('data', (chunk: Buffer) => splitter.push(chunk));
if (manner === 'slow') setTimeout(read, 1500);
else read();
