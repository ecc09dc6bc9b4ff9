import { z } from 'zod';
import { BUILTIN_TOOLSETS } from './builtin-toolsets.ts';
import { oauthSpec } from './oauth-auth.ts';
import { keysOnly, type Problem, problemsOf, textThat } from './problems.ts';
import { duration, type Quantity, quantityFault, size } from './quantities.ts';
import { resultRule, resultRules } from './result-fields.ts';
import { authFields, authHeader, authProblems } from './server-auth.ts';
import type { HealthCheckSpec, LifecycleSpec, ServerSpec } from './spec.ts';

const PROTOCOLS = ['auto', '2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25', '2026-07-28'] as const;

/** Headers that belong to the transport of each hop; a configured value would break or impersonate it. */
const RESERVED_HEADERS = new Set(
  `accept accept-encoding connection content-encoding content-length content-type expect host http2-settings
  keep-alive last-event-id proxy-connection te trailer transfer-encoding upgrade`.split(/\s+/),
);

type Mode = 'written' | 'resolved';

/**
 * The fields of `Server.spec`. In `written` mode a text that still holds `${…}` passes; in `resolved` mode every rule
 * applies to what it became.
 */
function serverFields(mode: Mode) {
  const text = (fault: (value: string) => string | undefined) =>
    textThat((value) => (mode === 'written' && value.includes('${') ? undefined : fault(value)));
  const quantity = (kind: Quantity, min: string, max: string) =>
    text((value) => quantityFault(kind, value, min, max)).optional();
  const globs = z.array(text(globFault)).max(1000).optional();
  return keysOnly({
    command: text(commandFault).optional(),
    args: z.array(text(nulFault)).max(1000).optional(),
    env: z.record(textThat(envNameFault), text(nulFault)).optional(),
    cwd: text(commandFault).optional(),
    url: text(urlFault).optional(),
    headers: z.record(textThat(headerNameFault), text(headerValueFault)).optional(),
    builtin: z.string().optional(),
    auth: authFields(mode, { headerName: headerNameFault, headerValue: headerValueFault }).optional(),
    protocol: z.enum(PROTOCOLS).optional(),
    isolation: z.enum(['shared', 'user', 'session']).optional(),
    prefix: z.enum(['always', 'conditional', 'never']).optional(),
    tools: keysOnly({
      allow: globs,
      deny: globs,
      readOnly: globs,
      override: z
        .record(
          z.string(),
          keysOnly({ name: text(toolNameFault).optional(), description: z.string().max(10_000).optional() }),
        )
        .optional(),
      results: z.array(resultRule(text)).max(100).optional(),
    }).optional(),
    lifecycle: keysOnly({
      connect: z.enum(['lazy', 'eager']).optional(),
      idleTimeout: quantity(duration, '1s', '7d'),
      callTimeout: quantity(duration, '100ms', '24h'),
      maxResultBytes: quantity(size, '1KiB', '1GiB'),
    }).optional(),
    healthCheck: keysOnly({
      tool: text(globFault).optional(),
      interval: quantity(duration, '1s', '24h'),
      timeout: quantity(duration, '100ms', '10m'),
      failures: z.int().min(1).max(1000).optional(),
    }).optional(),
  }).superRefine((spec, context) => {
    for (const { path, message } of targetProblems(spec)) {
      context.addIssue({ code: 'custom', path: [...path], message });
    }
  });
}

export type WrittenServer = z.infer<ReturnType<typeof serverFields>>;

export const SERVER = serverFields('written');
const RESOLVED = serverFields('resolved');

/** What is wrong with `spec` as it stands in a file or a request; `${…}` may still be in it. */
export function serverProblems(spec: unknown): Problem[] {
  return problemsOf(SERVER, spec, ['spec']);
}

/** What is wrong with `spec` once every `${…}` in it is replaced. */
export function resolvedServerProblems(spec: unknown): Problem[] {
  return problemsOf(RESOLVED, spec, ['spec']);
}

/** The server as the rest of the house sees it. `written` has passed `resolvedServerProblems`. */
export function serverSpec(written: WrittenServer): ServerSpec {
  return {
    target: targetOf(written),
    auth: oauthSpec(written.auth),
    protocol: written.protocol ?? 'auto',
    isolation: written.isolation,
    prefix: written.prefix ?? (written.builtin === undefined ? 'always' : 'never'),
    tools: {
      allow: written.tools?.allow ?? ['*'],
      deny: written.tools?.deny ?? [],
      readOnly: written.tools?.readOnly ?? [],
      override: written.tools?.override ?? {},
      results: resultRules(written.tools?.results ?? []),
    },
    lifecycle: lifecycleOf(written.lifecycle ?? {}),
    healthCheck: written.healthCheck && healthCheckOf(written.healthCheck),
  };
}

function targetOf(written: WrittenServer): ServerSpec['target'] {
  if (written.url !== undefined) {
    const headers = { ...written.headers, ...(written.auth && authHeader(written.auth)) };
    return { type: 'http', url: written.url, headers };
  }
  if (written.builtin !== undefined) return { type: 'builtin', toolset: written.builtin };
  const target = {
    type: 'stdio' as const,
    command: written.command ?? '',
    args: written.args ?? [],
    env: written.env ?? {},
  };
  return written.cwd === undefined ? target : { ...target, cwd: written.cwd };
}

function lifecycleOf(written: NonNullable<WrittenServer['lifecycle']>): LifecycleSpec {
  return {
    connect: written.connect ?? 'lazy',
    idleTimeoutMs: parsed(duration, written.idleTimeout ?? '10m'),
    callTimeoutMs: parsed(duration, written.callTimeout ?? '60s'),
    maxResultBytes: parsed(size, written.maxResultBytes ?? '10MiB'),
  };
}

function healthCheckOf(written: NonNullable<WrittenServer['healthCheck']>): HealthCheckSpec {
  return {
    ...(written.tool === undefined ? {} : { tool: written.tool }),
    intervalMs: parsed(duration, written.interval ?? '60s'),
    timeoutMs: parsed(duration, written.timeout ?? '10s'),
    failures: written.failures ?? 3,
  };
}

function parsed(kind: Quantity, text: string): number {
  const value = kind.parse(text);
  if (value === undefined) throw new Error('a quantity reached this place unchecked');
  return value;
}

type Targets = Partial<
  Record<
    | 'command'
    | 'args'
    | 'env'
    | 'cwd'
    | 'url'
    | 'headers'
    | 'builtin'
    | 'auth'
    | 'protocol'
    | 'isolation'
    | 'prefix'
    | 'lifecycle'
    | 'healthCheck',
    unknown
  >
> & { tools?: { readOnly?: unknown; override?: unknown } | undefined };

function targetProblems(spec: Targets): Problem[] {
  const problems: Problem[] = [];
  const kinds = (['command', 'url', 'builtin'] as const).filter((key) => spec[key] !== undefined);
  if (kinds.length === 0)
    problems.push({
      path: [],
      message: 'names no server: add command (stdio), url (HTTP) or builtin (a toolset)',
    });
  if (kinds.length > 1) {
    problems.push({
      path: [kinds[1]!],
      message: `cannot stand beside ${kinds[0]}: keep one of ${kinds.join(', ')}`,
    });
  }
  if (spec.builtin !== undefined) {
    problems.push(...builtinProblems(spec));
  }
  problems.push(...authProblems(spec));
  const foreign = spec.command === undefined ? (['args', 'env', 'cwd'] as const) : (['headers'] as const);
  for (const key of kinds.length === 1 ? foreign : []) {
    if (spec[key] !== undefined && !(key === 'headers' && spec.url !== undefined)) {
      problems.push({ path: [key], message: `has no meaning beside ${kinds[0]}: remove it` });
    }
  }
  return problems;
}

/** A toolset has a name that is listed, and nothing of what is about connections. */
function builtinProblems(spec: Targets): Problem[] {
  const known = [...BUILTIN_TOOLSETS.keys()];
  const problems: Problem[] = BUILTIN_TOOLSETS.has(String(spec.builtin))
    ? []
    : [{ path: ['builtin'], message: `is no toolset: use one of ${known.join(', ')}` }];
  for (const key of ['protocol', 'isolation', 'prefix', 'lifecycle', 'healthCheck'] as const)
    if (spec[key] !== undefined)
      problems.push({ path: [key], message: 'has no meaning beside builtin: remove it' });
  for (const key of ['readOnly', 'override'] as const)
    if (spec.tools?.[key] !== undefined)
      problems.push({ path: ['tools', key], message: 'is fixed for a built-in toolset: remove it' });
  return problems;
}

function nulFault(value: string): string | undefined {
  if (value.includes('\0')) return 'contains a NUL character: remove it';
  return value.length > 128 * 1024 ? 'is longer than 128 KiB: shorten it' : undefined;
}

function commandFault(value: string): string | undefined {
  return value.trim() === '' ? 'is empty: write a value' : nulFault(value);
}

function envNameFault(value: string): string | undefined {
  if (/^CASTELLAN_/i.test(value)) return 'CASTELLAN_ variables never reach a server: use another name';
  return /^[^=\0\s]{1,256}$/.test(value)
    ? undefined
    : 'is not a valid variable name: use letters, digits and "_"';
}

function urlFault(value: string): string | undefined {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (!url || !['http:', 'https:'].includes(url.protocol)) {
    return 'is not an http or https URL: write it in full, such as https://example.com/mcp';
  }
  if (url.username || url.password) return 'contains a user or password: put the credential in headers';
  if (url.hash) return 'contains a fragment: remove everything from "#" on';
  return undefined;
}

function headerNameFault(value: string): string | undefined {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/.test(value))
    return 'is not a valid header name: use letters, digits and "-"';
  const name = value.toLowerCase();
  if (RESERVED_HEADERS.has(name) || name.startsWith('mcp-')) return 'is set by Castellan itself: remove it';
  return undefined;
}

function headerValueFault(value: string): string | undefined {
  if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) {
    return 'contains a character that a header cannot carry: remove line breaks and characters beyond Latin-1';
  }
  return value.length > 16 * 1024 ? 'is longer than 16 KiB: shorten it' : undefined;
}

function globFault(value: string): string | undefined {
  if (value === '') return 'is empty: write a tool name or a pattern such as get_*';
  return value.length > 256 ? 'is longer than 256 characters: shorten it' : undefined;
}

function toolNameFault(value: string): string | undefined {
  return /^[A-Za-z0-9_.-]{1,128}$/.test(value)
    ? undefined
    : 'is not a valid tool name: use at most 128 of A-Z, a-z, 0-9, "_", "." and "-"';
}
