import { join } from 'node:path';
import { ChildProcesses } from '../../src/base/child-processes.ts';
import { StdioTransport } from '../../src/upstream/stdio-transport.ts';

// A stand-in for a server that is about to be killed: starts hostile children of every kind, says so on stdout, and
// lives until its input ends (a clean stop) or somebody kills it. Arguments: the marker, and `load` to keep spawning.

const [marker = '', mode = ''] = process.argv.slice(2);
const quiet = { warn: () => undefined, info: () => undefined };
const children = new ChildProcesses({ marker, logger: quiet });
const events = { onMessage: () => undefined, onClosed: () => undefined };

async function start(how: string): Promise<StdioTransport> {
  const args = [join(import.meta.dirname, 'hostile-child.ts'), how];
  const target = { type: 'stdio' as const, command: process.execPath, args, env: {} };
  const transport = new StdioTransport({ target, serverName: how, children, maxLineBytes: 1e6 }, events);
  await transport.open();
  return transport;
}

const ask = (transport: StdioTransport, id: number, method: string, params = {}) =>
  transport.exchange({ jsonrpc: '2.0', id, method, params }, { maxBytes: 1e6 }).answer;

await children.sweepOrphans();
const stubborn = await start('stubborn');
await ask(stubborn, 1, 'leaveBehind');
await ask(stubborn, 2, 'doubleFork');
await ask(stubborn, 3, 'leaveBehind', { clean: 1 });
await ask(await start('wrapped'), 1, 'echo');
process.stdout.write(`ready ${children.watchdogPid}\n`);

process.stdin.on('data', () => undefined);
process.stdin.on('end', () => void children[Symbol.asyncDispose]());

// Spawns without pause, so that a kill also falls between a fork and the moment it is known to anyone.
for (let round = 0; mode === 'load'; round += 1) {
  const short = await Promise.all([start('stubborn'), start(''), start('crash')]);
  if (round % 2 === 0) void Promise.all(short.map((transport) => transport.close()));
}
