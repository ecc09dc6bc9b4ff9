import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { administrate } from './agent.ts';
import type { TestCastellan } from './running-castellan.ts';

export const GRANT = 'grn_known';

/** What the administrator would allow a client on the page for it, in the project `demo`. */
export async function allowGrant(castellan: TestCastellan): Promise<void> {
  const uid = async (what: string): Promise<string> =>
    (await administrate(castellan, 'GET', what)).metadata.uid;
  const database = new DatabaseSync(path.join(castellan.dataDir, 'castellan.db'), { timeout: 5_000 });
  database
    .prepare('insert into oauth_grants values (?, ?, ?, ?, ?, ?, ?, ?, ?)')
    .run(
      GRANT,
      await uid('/users/admin'),
      'client',
      'Client',
      await uid('/projects/demo'),
      'mcp',
      1,
      1,
      null,
    );
  database.close();
}
