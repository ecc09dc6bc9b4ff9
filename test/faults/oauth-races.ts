/**
 * Races at the token endpoint, between two processes where the database is PostgreSQL. Each code is redeemed twice at
 * once: exactly one wins. Each refresh token is presented fifty times at once: everybody goes on in one live family.
 *
 *   node test/faults/oauth-races.ts [TIMES]      default 1000, on SQLite and on PostgreSQL
 */
import {
  postgresDatabase,
  postgresMissing,
  sqliteDatabase,
  type TestDatabase,
} from '../support/databases.ts';
import { OAuthRig } from '../support/oauth-rig.ts';

const REFRESHES_AT_ONCE = 50;
/** A family of fifty takes as long as fifty codes. */
const CODES_PER_FAMILY = 20;

const times = Number(process.argv[2] ?? 1_000);
if (!Number.isInteger(times) || times < 1) throw new Error('how many times must be a whole number above 0');

async function main(): Promise<void> {
  await race(await sqliteDatabase());
  const missing = await postgresMissing();
  if (missing === undefined) await race(await postgresDatabase());
  else throw new Error(`no PostgreSQL: ${missing}`);
}

async function race(database: TestDatabase): Promise<void> {
  try {
    await using one = await OAuthRig.start(database);
    await one.prepare();
    await using other = await twinOf(one, database);
    const began = performance.now();
    for (let round = 0; round < times; round += 1) await redeemTwice(one, other, round);
    const families = Math.ceil(times / CODES_PER_FAMILY);
    for (let round = 0; round < families; round += 1) await refreshAtOnce(one, other, round);
    const seconds = ((performance.now() - began) / 1_000).toFixed(1);
    process.stdout.write(
      `${database.name}: ${times} codes redeemed twice, one winner each; ${families} refresh tokens presented ${REFRESHES_AT_ONCE} times at once, one live family each, nobody out (${seconds} s)\n`,
    );
  } finally {
    await database.dispose();
  }
}

/** Another process on the database; SQLite has one alone. */
async function twinOf(rig: OAuthRig, database: TestDatabase): Promise<OAuthRig> {
  return database.name === 'PostgreSQL' ? OAuthRig.start(database) : rig;
}

async function redeemTwice(one: OAuthRig, other: OAuthRig, round: number): Promise<void> {
  const form = await one.code();
  const answers = await Promise.all([one.post('/token', form), other.post('/token', form)]);
  const outcome = answers
    .map(({ status, body }) => `${status} ${body.error ?? ''}`.trim())
    .sort()
    .join(', ');
  if (outcome !== '200, 400 invalid_grant') throw new Error(`code ${round}: ${outcome}`);
}

async function refreshAtOnce(one: OAuthRig, other: OAuthRig, round: number): Promise<void> {
  const { refresh_token: token = '' } = await one.tokens(await one.code());
  const answers = await Promise.all(
    Array.from({ length: REFRESHES_AT_ONCE }, (_, at) => (at % 2 ? one : other).refresh(token)),
  );
  const refused = answers.find(({ status }) => status !== 200);
  if (refused) throw new Error(`refresh ${round}: ${refused.status} ${JSON.stringify(refused.body)}`);
  const successors = new Set(answers.map(({ body }) => String(body.refresh_token)));
  if (successors.size !== 1) throw new Error(`refresh ${round}: ${successors.size} refresh tokens live on`);
  const opened = await Promise.all(answers.map(({ body }) => one.opens(String(body.access_token))));
  if (opened.includes(false)) throw new Error(`refresh ${round}: somebody is out`);
  const [successor = ''] = successors;
  const next = await one.refresh(successor);
  if (next.status !== 200) throw new Error(`refresh ${round}: the family has ended`);
}

await main();
