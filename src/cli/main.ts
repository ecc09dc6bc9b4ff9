import { Exit } from './exit.ts';
import { runCommandLine } from './program.ts';
import { Terminal } from './terminal.ts';

// A reader that went away (`castellan get … | head`) is no failure to report.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? Exit.ok : Exit.failed);
  });
}

const exitCode = await runCommandLine(process.argv.slice(2), {
  terminal: new Terminal(),
  env: process.env,
  exitNow: (code) => process.exit(code),
});

// Idle keep-alive sockets and a launcher's channel would hold the process; what was printed goes out first.
process.stdout.write('', () => process.stderr.write('', () => process.exit(exitCode)));
