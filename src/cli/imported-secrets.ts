import { isMapping } from '../base/mapping.ts';
import { secretKeyFault, secretValueFault } from '../resources/secret-fields.ts';

/** Where a server may have a secret that can be kept apart: variables and headers, each under its own name. */
const GROUPS = ['env', 'headers'] as const;
const SOUNDS_SECRET =
  /token|secret|passw|pwd|api[-_]?key|access[-_]?key|private[-_]?key|authorization|credential|cookie|(^|[-_])pat$/i;
/** What issuers begin theirs with, whatever the variable is called. */
const LOOKS_SECRET =
  /^(Bearer |Basic )?(gh[pousr]_|github_pat_|glpat-|sk-|xox[abprs]-|AKIA|AIza|eyJ[\w-]+\.eyJ|cst_[a-z]+_|-----BEGIN )/;

type Spec = Record<string, unknown>;

/** Fields of a server that hold what looks like a secret, in clear: `env.API_TOKEN`, `args[2]`. */
export function plainSecrets(spec: Spec): string[] {
  const named = secretsOf(spec).map(({ group, key }) => `${group}.${key}`);
  const args = Array.isArray(spec.args) ? spec.args : [];
  const inArgs = args.flatMap((arg, at) => {
    const [, flag, value] = /^--?([\w-]+)=(.+)$/s.exec(String(arg)) ?? [];
    const before = /^--?([\w-]+)$/.exec(String(args[at - 1] ?? ''))?.[1];
    const given = flag === undefined ? [before ?? '', String(arg)] : [flag, value ?? ''];
    const follows = flag !== undefined || (before !== undefined && !String(arg).startsWith('-'));
    return isPlain(given[1]) && (LOOKS_SECRET.test(given[1]!) || (follows && SOUNDS_SECRET.test(given[0]!)))
      ? [`args[${at}]`]
      : [];
  });
  return [...named, ...inArgs];
}

/** The server with a reference in place of each secret among its variables and headers, and what they refer to. */
export function movedSecrets(name: string, spec: Spec): { spec: Spec; data: Record<string, string> } {
  const data: Record<string, string> = {};
  const moved: Spec = { ...spec };
  for (const { group, key, value } of secretsOf(spec)) {
    if (secretKeyFault(key) !== undefined || secretValueFault(value) !== undefined) continue;
    data[key] = value;
    moved[group] = { ...(moved[group] as Spec), [key]: `\${secret:${name}.${key}}` };
  }
  return { spec: moved, data };
}

function secretsOf(spec: Spec): { group: (typeof GROUPS)[number]; key: string; value: string }[] {
  return GROUPS.flatMap((group) => {
    const fields = spec[group];
    if (!isMapping(fields)) return [];
    return Object.entries(fields).flatMap(([key, value]) =>
      isPlain(value) && (SOUNDS_SECRET.test(key) || LOOKS_SECRET.test(value)) ? [{ group, key, value }] : [],
    );
  });
}

function isPlain(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && !value.includes('${');
}
