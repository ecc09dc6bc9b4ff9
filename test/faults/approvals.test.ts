import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ApprovalsTorment, type Where } from '../support/approvals-torment.ts';
import { postgresMissing } from '../support/databases.ts';

const missing = await postgresMissing();
if (missing !== undefined && process.env.CI === 'true') throw new Error(`PostgreSQL is required: ${missing}`);

// `node test/faults/approvals.ts` does the same for as long as somebody wants.
for (const where of ['sqlite', 'postgres'] satisfies Where[]) {
  const skip = where === 'postgres' && missing !== undefined && `no PostgreSQL: ${missing}`;
  describe(`an approved call (${where === 'sqlite' ? 'SQLite' : 'two processes on PostgreSQL'})`, {
    skip,
  }, () => {
    it('is made once by two approvers, and at most once whoever else is in the race', async () => {
      await using torment = await ApprovalsTorment.start(where);
      for (let round = 0; round < 5; round += 1) await torment.approveTwice();
      for (let round = 0; round < 20; round += 1) await torment.race();
    });

    it('is never sent twice over a kill', async () => {
      await using torment = await ApprovalsTorment.start(where);
      for (let round = 0; round < 2; round += 1) await torment.kill();
      await torment.judgeAll();
    });

    it('is sent once at most, and stays one approval, while the policy and the tool change', async () => {
      await using torment = await ApprovalsTorment.start(where);
      for (let round = 0; round < 20; round += 1) await torment.edit();
    });

    if (where === 'sqlite') return;
    it('is not sent when the policy changed while its decision waited', async () => {
      await using torment = await ApprovalsTorment.start(where);
      assert.equal(await torment.editMeanwhile(), 'failed');
    });
  });
}
