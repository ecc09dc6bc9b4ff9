import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { postgresMissing } from '../support/databases.ts';
import { killWhileRenewing, type Place, refreshOnce } from '../support/vendor-torment.ts';

const missing = await postgresMissing();
if (missing !== undefined && process.env.CI === 'true') throw new Error(`PostgreSQL is required: ${missing}`);

// `node test/faults/vendor-logins.ts` does the same for as long as somebody wants.
for (const place of ['SQLite', 'PostgreSQL'] satisfies Place[]) {
  const skip = place === 'PostgreSQL' && missing !== undefined && `no PostgreSQL: ${missing}`;
  describe(`the grant of a vendor (${place === 'SQLite' ? place : `two processes on ${place}`})`, {
    skip,
  }, () => {
    it('is renewed once for 200 calls at once', () => refreshOnce(place, 200));

    it('outlives kills during a renewal where the vendor forgives for a moment', async () => {
      const { kills, lost } = await killWhileRenewing(place, 2, 30);
      assert.deepEqual([kills, lost], [2, 0]);
    });

    it('is whole or said to be lost where the vendor forgives nothing', async () => {
      const { kills } = await killWhileRenewing(place, 2, 0);
      assert.equal(kills, 2);
    });
  });
}
