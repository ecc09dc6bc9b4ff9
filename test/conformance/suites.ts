import type { FixtureForm } from './fixture/server.ts';

export type SuiteRelease = '0.1' | '0.2';

/** One line of the report: a suite of the official tool against one form of upstream. */
export type Suite = {
  name: string;
  release: SuiteRelease;
  /** Arguments of the tool, one list per run of it; of `AUTHORIZATION` the name that the server is asked by. */
  runs: string[][];
  /** The upstream in front of which Castellan stands, and the revision it is told to speak to it. */
  upstream: { form: FixtureForm; protocol: string } | undefined;
  /** So many checks must have passed or failed: fewer means that something was not tested. */
  atLeast: number;
  /** The same without Castellan; 0 where the fixture of that form cannot serve the suite directly. */
  atLeastDirectly: number;
};

const TASK_SCENARIOS = [
  'tasks-lifecycle',
  'tasks-capability-negotiation',
  'tasks-wire-fields',
  'tasks-request-state-removal',
  'tasks-mrtr-input',
  'tasks-request-headers',
  'tasks-dispatch-and-envelope',
  'tasks-required-task-error',
  'tasks-mrtr-composition',
];

const SKILL_SCENARIOS = [
  'sep-2640-skills-directory',
  'sep-2640-skills-enumeration',
  'sep-2640-skills-manifest',
];

/** Scenario, revision: what is not about authorization. */
const CLIENT_SCENARIOS: [string, string][] = [
  ['initialize', '2025-06-18'],
  ['initialize', '2025-11-25'],
  ['tools_call', '2025-06-18'],
  ['tools_call', '2025-11-25'],
  ['tools_call', '2026-07-28'],
  ['elicitation-sep1034-client-defaults', '2025-11-25'],
  ['sse-retry', '2025-11-25'],
  ['request-metadata', '2026-07-28'],
  ['http-standard-headers', '2026-07-28'],
  ['http-custom-headers', '2026-07-28'],
  ['http-invalid-tool-headers', '2026-07-28'],
  ['sep-2322-client-request-state', '2026-07-28'],
  ['json-schema-ref-no-deref', '2026-07-28'],
  ['json-schema-2020-12-preservation', '2025-11-25'],
  ['json-schema-2020-12-preservation', '2026-07-28'],
];

type Counts = [dual: number, legacy: number, modern: number];

/** The suite against the dual fixture, an old one and a new one. */
function threeWays(
  name: string,
  release: SuiteRelease,
  args: string[],
  protocol: string,
  direct: number,
  counts: Counts,
): Suite[] {
  const legacy = protocol === '2026-07-28' ? '2025-11-25' : protocol;
  const forms: { form: FixtureForm; protocol: string }[] = [
    { form: 'dual', protocol },
    { form: 'legacy', protocol: legacy },
    { form: 'modern', protocol: '2026-07-28' },
  ];
  return forms.map((upstream, index) => ({
    name: `${name}/${upstream.form}`,
    release,
    runs: [args],
    upstream,
    atLeast: counts[index]!,
    atLeastDirectly:
      upstream.form === 'dual' || (upstream.form === 'modern') === (protocol === '2026-07-28') ? direct : 0,
  }));
}

/** The suite whose server is Castellan itself, before whom somebody at a browser decides. */
export const AUTHORIZATION = 'authorization';

export const SUITES: Suite[] = [
  ...threeWays('2026-07-28', '0.2', spec('2026-07-28'), '2026-07-28', 152, [152, 150, 152]),
  ...threeWays('2025-11-25', '0.2', spec('2025-11-25'), '2025-11-25', 84, [83, 83, 83]),
  ...threeWays('2025-06-18', '0.2', spec('2025-06-18'), '2025-06-18', 56, [56, 56, 56]),
  ...threeWays('0.1.16', '0.1', ['--suite', 'all'], '2025-11-25', 44, [44, 44, 44]),
  {
    name: 'tasks',
    release: '0.2',
    runs: TASK_SCENARIOS.map((scenario) => ['--scenario', scenario]),
    upstream: { form: 'tasks', protocol: '2026-07-28' },
    atLeast: 44,
    atLeastDirectly: 44,
  },
  {
    name: 'skills',
    release: '0.2',
    runs: SKILL_SCENARIOS.map((scenario) => ['--scenario', scenario]),
    upstream: { form: 'skills', protocol: '2026-07-28' },
    atLeast: 45,
    atLeastDirectly: 45,
  },
  {
    name: 'client',
    release: '0.2',
    runs: CLIENT_SCENARIOS.map(([scenario, revision]) => [
      '--scenario',
      scenario,
      '--spec-version',
      revision,
    ]),
    upstream: undefined,
    atLeast: 84,
    atLeastDirectly: 84,
  },
  {
    name: AUTHORIZATION,
    release: '0.2',
    runs: [['localhost'], ['127.0.0.1']],
    upstream: undefined,
    atLeast: 6,
    atLeastDirectly: 0,
  },
];

function spec(revision: string): string[] {
  return ['--suite', 'all', '--spec-version', revision];
}
