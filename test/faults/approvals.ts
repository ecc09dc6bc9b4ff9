import { ApprovalsTorment, type Tally, type Where } from '../support/approvals-torment.ts';
import { postgresMissing } from '../support/databases.ts';

// Tries to have an approved call sent twice: `node approvals.ts races|kills [COUNT] [sqlite|postgres]`. A race is two
// approvers, a canceller and the end of its time at one moment, on PostgreSQL in two processes; a kill is SIGKILL between
// the approval and its recorded outcome. Ends with 1 at the first call that was sent twice, or without its approval.

const what = process.argv[2] === 'kills' ? 'kills' : 'races';
const count = Number(process.argv[3] ?? (what === 'kills' ? 200 : 1_000));
const only = process.argv[4] as Where | undefined;

for (const where of ['sqlite', 'postgres'] as const) {
  if (only !== undefined && only !== where) continue;
  const missing = where === 'postgres' ? await postgresMissing() : undefined;
  if (missing !== undefined) {
    console.log(`${where}: skipped, ${missing}`);
    continue;
  }
  await using torment = await ApprovalsTorment.start(where);
  const tally: Tally = {};
  for (let round = 1; round <= count; round += 1) {
    const state = what === 'kills' ? await torment.kill() : await torment.race();
    tally[state] = (tally[state] ?? 0) + 1;
    if (round % 100 === 0) console.log(`${where} ${what} ${round}: ${JSON.stringify(tally)}`);
  }
  console.log(`${where}: ${count} ${what}, no call sent twice: ${JSON.stringify(tally)}`);
}
