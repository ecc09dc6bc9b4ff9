// A process for the fault tests: opens the data directory given as argument, stores secrets on the first run, says
// "ready", then rotates the key without pause until it is killed, saying each key that seals.
import { KeyRotation } from '../../src/resources/key-rotation.ts';
import { Resources } from '../../src/resources/registry.ts';
import { openDataDirectory } from '../../src/store/data-directory.ts';
import { openStore } from '../../src/store/database.ts';
import { openAudit, quietLogger } from './databases.ts';

const [folder = '', count = '0'] = process.argv.slice(2);
const logger = quietLogger();
const dataDir = await openDataDirectory(folder, { env: {} });
const store = await openStore({ dataDir, logger });
const audit = await openAudit({ store, dataDir });
const resources = await Resources.open({
  store,
  audit,
  files: [],
  env: {},
  logger,
  dataDir: folder,
  nodePath: '',
});
for (let number = resources.list('Secret').length; number < Number(count); number += 1) {
  const data = Object.fromEntries(Array.from({ length: 64 }, (_, key) => [`k${key}`, `${number}-${key}`]));
  await resources.put({ kind: 'Secret', metadata: { name: `s${number}` }, spec: { data } });
}
const rotation = new KeyRotation({ store, resources, others: [], audit, logger });
process.stdout.write('ready\n');
for (;;) {
  const { key } = await rotation.rotate(0);
  process.stdout.write(`${key}\n`);
}
