// A process for the fault tests: logs N lines of 1 kB to stderr, then says on stdout that it is alive, and exits with 3.
import { createLogger } from '../../src/base/logger.ts';

const logger = createLogger({ level: 'info' });
for (let line = 0; line < Number(process.argv[2]); line += 1) logger.info({ line }, 'x'.repeat(1_000));
logger.error('the last line');
process.stdout.write('alive\n', () => process.exit(3));
