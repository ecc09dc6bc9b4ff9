import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { KeyRotation } from '../../src/resources/key-rotation.ts';
import { Resources } from '../../src/resources/registry.ts';
import { openDataDirectory } from '../../src/store/data-directory.ts';
import { openStore } from '../../src/store/database.ts';
import { openAudit, quietLogger, temporaryFolder } from '../support/databases.ts';

const open = '${';
const logger = quietLogger();

describe('a rotation that is killed', () => {
  it('leaves every value readable, and the next start ends it', async () => {
    const folder = await temporaryFolder();
    const script = path.join(import.meta.dirname, '../support/rotate-key.ts');
    for (let round = 0; round < 5; round += 1) {
      const child = spawn(process.execPath, [script, folder, '20'], {
        stdio: ['ignore', 'pipe', 'inherit'],
        timeout: 60_000,
      });
      const lines = createInterface({ input: child.stdout });
      let said = 0;
      for await (const _ of lines) {
        said += 1;
        if (said <= round) continue;
        // Somewhere in the rotation that has just begun.
        for (let turn = 0; turn < round * 7; turn += 1) await new Promise(setImmediate);
        break;
      }
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    }
    const dataDir = await openDataDirectory(folder, { env: {} });
    const store = await openStore({ dataDir, logger });
    const audit = await openAudit({ store, dataDir });
    const options = { files: [], env: {}, logger, dataDir: folder, nodePath: '' };
    const resources = await Resources.open({ store, audit, ...options });
    await new KeyRotation({ store, resources, others: [], audit, logger }).close();
    const ids = await store.db.selectFrom('secret_values').select('key_id').distinct().execute();
    assert.deepEqual(ids, [{ key_id: store.keys.sealer.keyId }]);
    for (let number = 0; number < 20; number += 1) {
      const headers = { 'X-Key': `${open}secret:s${number}.k${number}}` };
      const spec = { url: 'http://127.0.0.1:1/mcp', headers };
      await resources.put({ kind: 'Server', metadata: { name: 's' }, spec });
      const target = resources.snapshot().servers.get('s')?.spec?.target;
      assert.deepEqual(target, { type: 'http', ...spec, headers: { 'X-Key': `${number}-${number}` } });
    }
    await resources.close();
    await store.close();
    await dataDir.close();
  });
});
