import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Loose } from '../support/agent.ts';
import type { OracleUpstream } from '../support/oracle-upstream.ts';
import type { TestCastellan } from '../support/running-castellan.ts';
import { type InspectorEra, type InspectorRun, inspect, type Transport, type Way } from './inspector.ts';

export type Step = {
  name: string;
  ok: boolean;
  command: string;
  /** What was printed: of the Inspector its result, of the command line its lines. */
  shown: unknown;
  /** Calls that the upstream server has had by then. */
  calls: number;
  /** Only of what failed. */
  stderr?: string;
};

export type Validation = { transport: Transport; era: InspectorEra; ok: boolean; steps: Step[] };

export type Bench = { castellan: TestCastellan; oracle: OracleUpstream; token: string };

const TOOL = 'notes__delete';

/**
 * One client's way through an approval: it lists the tools, makes a call that is held, somebody approves it on the
 * command line, and the same call again brings the outcome, of one execution.
 */
export async function validate(
  { castellan, oracle, token }: Bench,
  transport: Transport,
  era: InspectorEra,
): Promise<Validation> {
  const { dataDir } = castellan;
  const way: Way = { transport, era, url: `${castellan.url}/projects/demo/mcp`, token, dataDir };
  const steps: Step[] = [];
  const args = { note: randomUUID().slice(0, 8) };
  const made = () => oracle.calls.filter((call) => isDeepStrictEqual(call.arguments, args)).length;
  const add = (name: string, run: InspectorRun, judge: (result: Loose) => boolean, calls: number) => {
    const shown = resultOf(run);
    const ok = judge(shown) && made() === calls;
    const { command, stderr } = run;
    steps.push({ name, ok, command, shown, calls: made(), ...(ok ? {} : { stderr }) });
    return shown;
  };

  const list = await inspect(way, ['tools/list']);
  const has = (result: Loose) => result?.tools?.some(({ name }: Loose) => name === TOOL) === true;
  add('tools/list', list, (result) => list.exitCode === 0 && has(result), 0);

  const call = ['tools/call', '--tool-name', TOOL, '--tool-args-json', JSON.stringify(args)];
  const refused = add(
    'the call is held',
    await inspect(way, call),
    (result) => result?.isError === true && errorIn(result)?.code === 'APPROVAL_REQUIRED',
    0,
  );

  const id = String(errorIn(refused)?.approvalId ?? 'none');
  const decided = await castellan.cli('approvals', 'approve', id);
  steps.push({
    name: 'a human approves it',
    ok: decided.code === 0 && made() === 1,
    command: `castellan approvals approve ${id} --data-dir $DATA_DIR`,
    shown: decided.stdout.trim(),
    calls: made(),
    ...(decided.code === 0 ? {} : { stderr: decided.stderr }),
  });

  const again = await inspect(way, call);
  const isOutcome = (result: Loose) =>
    again.exitCode === 0 &&
    result?.content?.[0]?.text === JSON.stringify(args) &&
    result?._meta?.['castellan/approval']?.approvalId === id;
  add('the same call brings its outcome', again, isOutcome, 1);
  return { transport, era, ok: steps.every(({ ok }) => ok), steps };
}

const errorIn = (result: Loose) => result?._meta?.['castellan/error'];

/** What the Inspector printed as JSON; of anything else the text. */
function resultOf({ stdout }: InspectorRun): Loose {
  try {
    const value = JSON.parse(stdout) as Loose;
    return value.result ?? value;
  } catch {
    return stdout;
  }
}
