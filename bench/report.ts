import { cpus, release, totalmem } from 'node:os';
import type { JobOutcome } from './client/job.ts';
import type { Measured, Series } from './rounds.ts';
import { median } from './statistics.ts';

const NOTES = `
- *direct*: the client speaks to the bare server itself. *floor*: a pass-through of node:http and undici that parses the
  request, checks headers against body, rewrites the tool's name and forwards the answer's bytes, without authentication,
  policy, sessions or limits. A ratio is the median over rounds of the two neighbours in that round; in brackets its range.
- Client, gateway and server share this machine's cores. With few cores the throughput ratio therefore also contains the
  client's and the server's work, which is the same for both sides and pulls it towards 1. The ratio of CPU per call
  contains the gateway alone.
- *client share* is the part of one core that the load client used. It is the limit only near 100 %; the direct rows show
  how much it can ask for.
- *others* is CPU of this machine that none of the measured processes used; much of it makes a run worthless.
- In stdio rows the gateway's CPU includes its child, the stdio server; *direct* is a harness on that server's pipes.`;

/** Share of the machine in percent that strangers may take before the report warns. */
const QUIET_ENOUGH = 10;

type Pick = (outcome: JobOutcome) => number | undefined;

const rate: Pick = (outcome) => outcome.calls / outcome.seconds;
const perCall =
  (who: 'client' | 'gateway' | 'upstream'): Pick =>
  (outcome) => {
    const seconds = outcome.cpu[who];
    return seconds === undefined || outcome.calls === 0 ? undefined : (seconds / outcome.calls) * 1e6;
  };
const clientShare: Pick = (outcome) => (outcome.cpu.client / outcome.seconds) * 100;

/** The whole report as Markdown. `facts` are rows of name and value. */
export function renderReport(measured: Measured[], facts: [string, string][]): string {
  const failures = measured.flatMap(({ scenario, series }) =>
    Object.entries(series)
      .filter(([, { failure }]) => failure !== undefined)
      .map(([who, { failure }]) => `- ${who}, ${scenario.title} (${scenario.era}): ${failure}`),
  );
  return [
    `Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}`,
    '',
    ...warning(measured),
    '### Throughput and latency',
    '',
    table(THROUGHPUT_HEAD, measured.map(throughputRow)),
    '',
    '### CPU per call (user + system of the process tree)',
    '',
    table(CPU_HEAD, measured.map(cpuRow)),
    '',
    '### Start, memory, disk',
    '',
    table(['what', 'value'], facts),
    ...(failures.length === 0 ? [] : ['', '### Failed', '', ...failures]),
    '',
    '### What the figures mean',
    NOTES,
    '',
  ].join('\n');
}

const SCENARIO_HEAD = ['what', 'era', 'at once'];
const scenarioCells = ({ scenario }: Measured): string[] => [
  scenario.title,
  scenario.era,
  String(scenario.concurrency),
];

const THROUGHPUT_HEAD = [
  ...SCENARIO_HEAD,
  'direct /s',
  'floor /s',
  'Castellan /s',
  'Castellan ÷ floor',
  'Castellan ÷ direct',
  'floor p50 / p99 ms',
  'Castellan p50 / p99 ms',
];

function throughputRow(entry: Measured): string[] {
  const { direct, floor, castellan } = entry.series;
  return [
    ...scenarioCells(entry),
    typical(direct, rate, 0),
    typical(floor, rate, 0),
    typical(castellan, rate, 0),
    ratio(castellan, floor, rate),
    ratio(castellan, direct, rate),
    latency(floor),
    latency(castellan),
  ];
}

const CPU_HEAD = [
  ...SCENARIO_HEAD,
  'floor µs',
  'Castellan µs',
  'floor ÷ Castellan',
  'server µs',
  'client µs',
  'client share direct / floor / Castellan',
  'others',
];

function cpuRow(entry: Measured): string[] {
  const { direct, floor, castellan } = entry.series;
  const shares = [direct, floor, castellan].map((series) => `${typical(series, clientShare, 0)} %`);
  return [
    ...scenarioCells(entry),
    typical(floor, perCall('gateway'), 0),
    typical(castellan, perCall('gateway'), 0),
    ratio(floor, castellan, perCall('gateway')),
    typical(direct, perCall('upstream'), 0),
    typical(direct, perCall('client'), 0),
    shares.join(' / '),
    `${othersOf([entry])?.toFixed(0) ?? '–'} %`,
  ];
}

/** Median percentage of the machine that went to processes outside the measurement. */
function othersOf(entries: Measured[]): number | undefined {
  const outcomes = entries.flatMap(({ series }) => Object.values(series).flatMap(({ outcomes }) => outcomes));
  return outcomes.length === 0 ? undefined : median(outcomes.map(({ strangers }) => strangers * 100));
}

function warning(measured: Measured[]): string[] {
  const share = othersOf(measured) ?? 0;
  if (share < QUIET_ENOUGH) return [];
  return [`**Not fit for quoting: other processes took ${share.toFixed(0)} % of this machine.**`, ''];
}

function latency(series: Series | undefined): string {
  return `${typical(series, (outcome) => outcome.p50Ms, 2)} / ${typical(series, (outcome) => outcome.p99Ms, 2)}`;
}

function typical(series: Series | undefined, pick: Pick, digits: number): string {
  const values = series?.outcomes.map(pick).filter((value) => value !== undefined) ?? [];
  return values.length === 0 ? '–' : median(values).toFixed(digits);
}

/** Median and range of the quotient within each round; a window in which nothing was answered has none. */
function ratio(over: Series | undefined, under: Series | undefined, pick: Pick): string {
  const quotients: number[] = [];
  for (const [round, outcome] of (over?.outcomes ?? []).entries()) {
    const neighbour = under?.outcomes[round];
    const [a, b] = [pick(outcome), neighbour === undefined ? undefined : pick(neighbour)];
    if (a !== undefined && b !== undefined && b > 0) quotients.push(a / b);
  }
  if (quotients.length === 0) return '–';
  const range = `${Math.min(...quotients).toFixed(2)}–${Math.max(...quotients).toFixed(2)}`;
  return `**${median(quotients).toFixed(2)}** (${range})`;
}

function table(head: string[], rows: string[][]): string {
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
