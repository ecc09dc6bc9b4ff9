import { ApprovalsTorment, type Tally, type Where } from '../support/approvals-torment.ts';
import { postgresMissing } from '../support/databases.ts';

// Tries to have an approved call sent twice: `node approvals.ts races|kills|edits [COUNT] [sqlite|postgres]`. A race is
// two approvers, a canceller and the end of its time at one moment, on PostgreSQL in two processes; a kill is SIGKILL
// while the approval is approved and not settled, and those that hit another moment do not count; an edit changes the
// policy or the tool meanwhile. Ends with 1 at the first call that was sent twice, or without its approval.

const MODES = ['race', 'kill', 'edit'] as const;
const mode = MODES.find((one) => `${one}s` === process.argv[2]) ?? 'race';
const count = Number(process.argv[3] ?? (mode === 'kill' ? 200 : 1_000));
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
  for (let round = 1, counted = 0; counted < count; round += 1) {
    const state = await torment[mode]();
    tally[state] = (tally[state] ?? 0) + 1;
    if (mode !== 'kill' || state === 'approved' || state === 'executing') counted += 1;
    if (round % 50 === 0) console.log(`${where} ${mode}s ${round}: ${JSON.stringify(tally)}`);
  }
  const ended =
    mode === 'kill'
      ? `, killed while ${JSON.stringify(tally)}, ended as ${JSON.stringify(await torment.judgeAll())}`
      : `: ${JSON.stringify(tally)}`;
  console.log(`${where}: ${count} ${mode}s, no call sent twice${ended}`);
}
