import type { FixtureForm } from './fixture/server.ts';
import { REQUIRED_OF_CLIENTS, UNSCORED_FOR_CLIENTS } from './requirements.ts';

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

/** The same for what is about it: all that is required, and what counts for no revision but is built. */
const AUTH_SCENARIOS: [string, string][] = [
  ...REQUIRED_OF_CLIENTS.filter(([scenario]) => scenario.startsWith('auth/')),
  ['auth/token-endpoint-auth-basic', '2025-06-18'],
  ['auth/token-endpoint-auth-post', '2025-06-18'],
  ['auth/token-endpoint-auth-none', '2025-06-18'],
  ['auth/client-credentials-jwt', '2025-11-25'],
  ['auth/client-credentials-jwt', '2026-07-28'],
  ['auth/client-credentials-basic', '2025-11-25'],
  ['auth/client-credentials-basic', '2026-07-28'],
];

/** Why what the suite does not count is not run, by scenario. */
const NOT_BUILT: Readonly<Record<string, string>> = {
  'auth/enterprise-managed-authorization': 'an extension: tokens of an identity provider are not exchanged',
  'auth/dpop': 'an extension: tokens that are bound to a key are not asked for',
  'auth/dpop-nonce': 'an extension, as auth/dpop',
  'auth/wif-jwt-bearer': 'an extension: identities of workloads are not exchanged',
  'sep-2640-client-no-prefetch': 'an extension for clients that load skills, which is the agent itself',
  'sep-2640-client-verify-digest': 'as sep-2640-client-no-prefetch',
  'sep-2640-client-verify-size': 'as sep-2640-client-no-prefetch',
  'sep-2640-client-verify-frontmatter': 'as sep-2640-client-no-prefetch',
};

/** What the suite has for clients and is not run: scenario, reason. Throws when it is not known why. */
export function notRun(): [string, string][] {
  const runs = [...CLIENT_SCENARIOS, ...AUTH_SCENARIOS].map(
    ([scenario, revision]) => `${scenario} ${revision}`,
  );
  const left = REQUIRED_OF_CLIENTS.filter((required) => !runs.includes(required.join(' ')));
  if (left.length > 0) throw new Error(`required of clients and not run: ${left.join('; ')}`);
  const unscored = [...UNSCORED_FOR_CLIENTS.keys()].filter(
    (one) => !runs.some((run) => run.startsWith(`${one} `)),
  );
  return unscored.map((scenario) => {
    const reason = NOT_BUILT[scenario];
    if (reason === undefined) throw new Error(`nobody says why ${scenario} is not run`);
    return [scenario, reason];
  });
}

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

/** The suite whose clients share one Castellan. */
export const CLIENT_AUTH = 'client-auth';

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
    runs: CLIENT_SCENARIOS.map(scenarioRun),
    upstream: undefined,
    atLeast: 84,
    atLeastDirectly: 84,
  },
  {
    name: CLIENT_AUTH,
    release: '0.2',
    runs: AUTH_SCENARIOS.map(scenarioRun),
    upstream: undefined,
    // Each sign-in and each look at the list is a few; how many there are depends on who is faster.
    atLeast: 700,
    atLeastDirectly: 0,
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

function scenarioRun([scenario, revision]: [string, string]): string[] {
  return ['--scenario', scenario, '--spec-version', revision];
}

function spec(revision: string): string[] {
  return ['--suite', 'all', '--spec-version', revision];
}
