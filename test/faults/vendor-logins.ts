/**
 * What holds whatever happens to signing in for servers, on SQLite and on PostgreSQL, where two processes share it:
 *
 *   node test/faults/vendor-logins.ts refresh [CALLS]        default 200 at once on a token that is over: one refresh
 *   node test/faults/vendor-logins.ts kills [KILLS] [GRACE]  default 300 while renewing, at a vendor that forgives a
 *                                                            replaced token for 30 seconds; 0 is one that never does
 *   node test/faults/vendor-logins.ts users [CALLS]          default 10000 mixed calls of 50 users, SQLite alone: each
 *                                                            with the token of its own user
 *   node test/faults/vendor-logins.ts files [KILLS]          default 1000 of a process that writes auth.json, and 1000
 *                                                            changes of each of two processes at once
 */
import { killWriters, writeAtOnce } from '../support/auth-file-torment.ts';
import { eachTheirOwn } from '../support/user-logins.ts';
import { type KillFigures, killWhileRenewing, type Place, refreshOnce } from '../support/vendor-torment.ts';

const LANES = 3;
const PLACES: readonly Place[] = ['SQLite', 'PostgreSQL'];
const [mode = '', given, seconds = '30'] = process.argv.slice(2);
const count = (otherwise: number) => {
  const times = Number(given ?? otherwise);
  if (Number.isInteger(times) && times > 0) return times;
  throw new Error('how often must be a whole number above 0');
};

async function kills(times: number, graceSeconds: number): Promise<void> {
  for (const place of PLACES) {
    const lanes = Array.from({ length: Math.min(LANES, times) }, (_, lane) => {
      const share = Math.floor((times + lane) / Math.min(LANES, times));
      return killWhileRenewing(place, share, graceSeconds);
    });
    const all = (await Promise.all(lanes)).reduce(sumOf);
    const { asked, issued, answered, lost, slowestMs } = all;
    process.stdout.write(
      `${place}: ${all.kills} kills (${asked} before the vendor had replaced the token, ${issued} after that and before it answered, ${answered} after its answer), ${lost} grants lost, back after ${Math.round(slowestMs)} ms at most\n`,
    );
    if (graceSeconds > 0 && lost > 0) throw new Error(`${lost} grants were lost`);
  }
}

const sumOf = (one: KillFigures, other: KillFigures): KillFigures => ({
  kills: one.kills + other.kills,
  asked: one.asked + other.asked,
  issued: one.issued + other.issued,
  answered: one.answered + other.answered,
  lost: one.lost + other.lost,
  slowestMs: Math.max(one.slowestMs, other.slowestMs),
});

switch (mode) {
  case 'refresh':
    for (const place of PLACES) {
      await refreshOnce(place, count(200));
      process.stdout.write(`${place}: ${count(200)} calls at once on a token that was over, one refresh\n`);
    }
    break;
  case 'kills':
    await kills(count(300), Number(seconds));
    break;
  case 'users':
    await eachTheirOwn(50, count(10_000));
    process.stdout.write(`${count(10_000)} calls of 50 users, each with the token of its own user\n`);
    break;
  case 'files':
    await killWriters(count(1_000));
    await writeAtOnce(1_000);
    process.stdout.write(
      `${count(1_000)} kills of a writer of auth.json, whole each time; 2000 changes at once, none lost\n`,
    );
    break;
  default:
    throw new Error('name what to try: refresh, kills, users or files');
}
