import { parseFile } from './documents.ts';
import { type Environment, expandAll, expandSecretValue, expandVariables } from './expansion.ts';
import { KINDS, type KindName } from './kinds.ts';
import type { Labels } from './labels.ts';
import { API_VERSION } from './objects.ts';
import type { LocatedProblem, Problem } from './problems.ts';

/** The body of a PUT, or for a McpToken of a POST, with the place it came from. */
export type AppliedObject = {
  apiVersion: typeof API_VERSION;
  kind: KindName;
  metadata: { name: string; project?: string; labels?: Labels; resourceVersion?: string };
  spec: Record<string, unknown>;
  file: string;
  line: number;
  /** Why this object alone cannot be applied, such as a variable that is not set. */
  problems: LocatedProblem[];
};

/**
 * The objects of a file for `apply`: variables of `env` expanded in servers and secrets, in an order in which each finds what it
 * names (secrets, servers, projects, tokens). `problems` of the file as a whole mean that nothing in it may be applied.
 */
export function objectsToApply(
  file: string,
  text: string,
  env: Environment,
): { objects: AppliedObject[]; problems: LocatedProblem[]; notices: LocatedProblem[] } {
  const parsed = parseFile(file, text);
  const objects = parsed.objects.map((object): AppliedObject => {
    const { kind, name, project, labels, resourceVersion, spec, line, locate } = object;
    const faults: Problem[] = [];
    const expanded = expandedFor(kind, spec, env, faults);
    return {
      apiVersion: API_VERSION,
      kind,
      metadata: {
        name,
        ...(project !== undefined && { project }),
        ...(labels && { labels }),
        ...(resourceVersion !== undefined && { resourceVersion }),
      },
      spec: expanded as Record<string, unknown>,
      file,
      line,
      problems: faults.map(locate),
    };
  });
  objects.sort((a, b) => rank(a.kind) - rank(b.kind));
  return { objects, problems: parsed.problems, notices: parsed.notices };
}

/** In a server the rest is the running server's to replace; a secret's values have to be complete when they arrive. */
function expandedFor(kind: KindName, spec: unknown, env: Environment, faults: Problem[]): unknown {
  if (kind === 'Server' || kind === 'Repository')
    return expandAll(spec, ['spec'], (value) => expandVariables(value, env), faults);
  return kind === 'Secret'
    ? expandAll(spec, ['spec'], (value) => expandSecretValue(value, env), faults)
    : spec;
}

const rank = (kind: KindName): number => KINDS.findIndex((one) => one.kind === kind);
