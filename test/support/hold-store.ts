// A process for the fault tests. `hold DIR`: opens the store, says "open", writes rows until it is killed, saying each
// acknowledged one. `create DIR N`: says "go", then makes N first starts in DIR/0 … DIR/N-1.
import path from 'node:path';
import { openDataDirectory } from '../../src/store/data-directory.ts';
import { openStore } from '../../src/store/database.ts';
import { quietLogger } from './databases.ts';

const [mode, folder = '', count = '0'] = process.argv.slice(2);

async function open(at: string) {
  const dataDir = await openDataDirectory(at, { env: {} });
  return { dataDir, store: await openStore({ dataDir, logger: quietLogger() }) };
}

if (mode === 'hold') {
  const { store } = await open(folder);
  process.stdout.write('open\n');
  for (let row = 0; ; row += 1) {
    await store.db
      .insertInto('meta')
      .values({ key: `row ${process.pid} ${row}`, value: 'x'.repeat(2_000) })
      .execute();
    process.stdout.write(`${process.pid} ${row}\n`);
    await new Promise(setImmediate);
  }
} else {
  process.stdout.write('go\n');
  for (let index = 0; index < Number(count); index += 1) {
    const { dataDir, store } = await open(path.join(folder, String(index)));
    await store.close();
    await dataDir.close();
    process.stdout.write(`${index}\n`);
  }
}
