import { z } from 'zod';
import { bindingProblems } from './access-fields.ts';
import type { Binding } from './bindings.ts';
import { BUILTIN_TOOLSETS, OWN_TOOLS } from './builtin-toolsets.ts';
import { callLimits, LIMITS } from './limit-fields.ts';
import { nameFault } from './names.ts';
import { keysOnly, type Problem, problemsOf, textThat } from './problems.ts';
import { duration } from './quantities.ts';
import { RESULT_BYTES, resultBytes } from './result-fields.ts';
import type { ProjectSpec, Surface } from './spec.ts';

const serverNames = z.array(textThat(nameFault)).max(1000);

export const PROJECT = keysOnly({
  servers: serverNames.optional(),
  operatorServers: serverNames.optional(),
  exposure: z.enum(['full', 'meta', 'gated']).optional(),
  defaultAction: soon(['allow', 'deny'], ['approve']),
  newTools: z.enum(['list', 'hold']).optional(),
  changedTools: z.enum(['hold', 'warn']).optional(),
  limits: LIMITS.optional(),
  results: keysOnly({ maxBytes: RESULT_BYTES }).optional(),
  tickets: keysOnly({ selfHandle: z.boolean().optional() }).optional(),
  audit: keysOnly({
    intent: z.enum(['strict', 'relaxed']).optional(),
    arguments: z.boolean().optional(),
  }).optional(),
});

/** A project's spec as it is written. */
export type ProjectFields = z.input<typeof PROJECT>;

/** Values that are enforced today, and others; accepting one of those would promise what nobody keeps. */
function soon<const Now extends string, const Later extends string>(
  now: readonly Now[],
  later: readonly Later[],
) {
  return z
    .enum([...now, ...later])
    .superRefine((value, context) => {
      if (now.some((one) => one === value)) return;
      context.addIssue({ code: 'custom', message: `${value} is not available yet: use ${now.join(' or ')}` });
    })
    .transform((value) => value as Now)
    .optional();
}

/** What is wrong with a project's spec taken alone; whether its servers exist is checked where they are known. */
export function projectProblems(spec: unknown): Problem[] {
  const problems = problemsOf(PROJECT, spec, ['spec']);
  if (problems.length > 0) return problems;
  const { servers = [], operatorServers = [] } = spec as z.infer<typeof PROJECT>;
  for (const [field, names] of [
    ['servers', servers] as const,
    ['operatorServers', operatorServers] as const,
  ]) {
    for (const [index, name] of names.entries()) {
      if (names.indexOf(name) !== index) {
        problems.push({ path: ['spec', field, index], message: `names ${name} a second time: remove it` });
      }
    }
  }
  for (const [index, name] of operatorServers.entries()) {
    if (servers.includes(name)) {
      const message = `${name} is on both surfaces: keep it in servers or in operatorServers`;
      problems.push({ path: ['spec', 'operatorServers', index], message });
    }
  }
  return problems;
}

/** The project with its defaults; `written` has passed `projectProblems`. */
export function projectSpec(written: unknown): ProjectSpec {
  const spec = written as z.infer<typeof PROJECT>;
  return {
    servers: spec.servers ?? [],
    operatorServers: spec.operatorServers ?? [],
    exposure: spec.exposure ?? 'full',
    defaultAction: spec.defaultAction ?? 'allow',
    newTools: spec.newTools ?? 'list',
    changedTools: spec.changedTools ?? 'hold',
    limits: callLimits(spec.limits),
    results: { maxBytes: resultBytes(spec.results?.maxBytes) },
    tickets: { selfHandle: spec.tickets?.selfHandle ?? false },
    audit: { intent: spec.audit?.intent ?? 'strict', arguments: spec.audit?.arguments ?? false },
  };
}

/**
 * What is wrong with the servers of a project: one that nobody declares, a toolset on the wrong surface, two tools with
 * one name as far as the files say so. `find`: the spec of a server as it is written; undefined where there is none.
 */
export function misnamedServers(
  spec: unknown,
  find: (name: string) => { spec: unknown } | undefined,
): Problem[] {
  const { servers, operatorServers } = projectSpec(spec);
  return Object.entries({ servers, operatorServers }).flatMap(([field, names]) => {
    const surface = field === 'servers' ? 'consumer' : 'operator';
    const builtin = names.flatMap(
      (name) => BUILTIN_TOOLSETS.get(toolsetOf(find(name)?.spec) ?? '')?.tools ?? [],
    );
    return names.flatMap((name, index) => {
      const found = find(name);
      const message = found
        ? (misplaced(name, found.spec, surface) ?? clash(name, found.spec, builtin))
        : `there is no server ${name}: declare it, or remove it from this project`;
      return message === undefined ? [] : [{ path: ['spec', field, index], message }];
    });
  });
}

function misplaced(name: string, spec: unknown, surface: Surface): string | undefined {
  const own = BUILTIN_TOOLSETS.get(toolsetOf(spec) ?? '')?.surface ?? surface;
  if (own === surface) return undefined;
  const field = own === 'operator' ? 'operatorServers' : 'servers';
  return `${name} is a toolset of the ${own} surface: move it to ${field}`;
}

function clash(name: string, spec: unknown, builtin: readonly string[]): string | undefined {
  const { prefix, tools } = (spec ?? {}) as {
    prefix?: unknown;
    tools?: { override?: Record<string, { name?: string }> };
  };
  if (prefix !== 'never') return undefined;
  const names = Object.values(tools?.override ?? {}).flatMap((one) => one.name ?? []);
  const own = names.find((one) => OWN_TOOLS.some((tool) => tool === one));
  if (own) return `${name} has a tool ${own}, as Castellan itself has: give it another name`;
  const taken = names.find((one) => builtin.includes(one));
  return taken && `${name} has a tool ${taken}, as a built-in toolset beside it has: give it another name`;
}

function toolsetOf(spec: unknown): string | undefined {
  const builtin = (spec as { builtin?: unknown } | undefined)?.builtin;
  return typeof builtin === 'string' ? builtin : undefined;
}

export type TokenFields = {
  rbac?: 'empty' | 'clone';
  binds?: Binding[];
  surfaces?: Surface[];
  /** `30d`, `12h`, `never` or an ISO 8601 date, as written. */
  ttl?: string;
  description?: string;
};

export const TOKEN = keysOnly({
  rbac: z.enum(['empty', 'clone']).optional(),
  binds: z.array(z.unknown()).max(100).optional(),
  surfaces: z
    .array(z.enum(['consumer', 'operator']))
    .min(1)
    .max(2)
    .optional(),
  ttl: textThat(ttlFault).optional(),
  description: z.string().max(1000).optional(),
});

/** What is wrong with the spec of a McpToken. */
export function tokenProblems(spec: unknown): Problem[] {
  const problems = problemsOf(TOKEN, spec, ['spec']);
  if (problems.length > 0) return problems;
  return bindingProblems((spec as TokenFields).binds ?? [], ['spec', 'binds']);
}

function ttlFault(value: string): string | undefined {
  const isDate = /^\d{4}-\d\d-\d\d/.test(value) && !Number.isNaN(Date.parse(value));
  if (value === 'never' || isDate || duration.parse(value) !== undefined) return undefined;
  return 'is no valid lifetime: write 30d, 12h, never or an ISO 8601 date';
}
