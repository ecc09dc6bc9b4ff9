import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { APPROVAL_STATES, type Approval, isActive } from '../../src/approvals/approval.ts';
import { approvalRefusal, outcomeOf } from '../../src/gateway/approval-answers.ts';
import {
  auditUnavailable,
  type CallRefusal,
  frozen,
  policyDenied,
  rateLimited,
  refusalOf,
  type ToolRefusalCode,
  toolRefused,
  unknownTool,
} from '../../src/gateway/refusals.ts';
import type { ViewTool } from '../../src/gateway/view.ts';
import { ErrorCode } from '../../src/protocol/jsonrpc.ts';
import { type FaultKind, UpstreamFault } from '../../src/upstream/transport.ts';

const root = new URL('../../', import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), 'utf8');
const page = read('docs/errors.md');

/** Every kind of fault; the compiler refuses a list that misses one or names another. */
const KINDS = Object.keys({
  unreachable: true,
  timeout: true,
  needs_auth: true,
  needs_scope: true,
  forbidden: true,
  http: true,
  session_lost: true,
  protocol: true,
  too_large: true,
  abandoned: true,
  capacity: true,
} satisfies Record<FaultKind, true>) as FaultKind[];

const REFUSALS = KINDS.flatMap((kind) =>
  [false, true].map((sent) => refusalOf(new UpstreamFault(kind, 'reason', { sent }), 'server')),
);

const GATES = [
  policyDenied('reason'),
  rateLimited({ ok: false, subject: 'token', what: 'rate', retryAfterMs: 1 }),
  frozen({ scope: 'demo', reason: 'reason', by: 'User:admin', at: 0 }),
];

const TOOL_REFUSALS = Object.keys({
  INVALID_ARGUMENT: true,
  NOT_FOUND: true,
  NOT_PERMITTED: true,
  CONFLICT: true,
  ON_HOLD: true,
} satisfies Record<ToolRefusalCode, true>).map((code) =>
  toolRefused(code as ToolRefusalCode, 'reason', 'field'),
);

const TOOL = { definition: {} } as ViewTool;
const APPROVALS = APPROVAL_STATES.flatMap((state) => {
  const approval = {
    id: 'apr_1',
    state,
    terms: {},
    reason: null,
    executedAt: null,
    expiresAt: 0,
  } as Approval;
  if (isActive(approval)) return [approvalRefusal(approval, undefined)];
  const outcome = outcomeOf(approval, false, TOOL) as unknown as {
    result: { _meta: Record<string, CallRefusal> };
  };
  return [outcome.result._meta['castellan/error']!];
});

/** The table rows of the section under this heading, as trimmed cells. */
function rows(heading: string): string[][] {
  const section = page.split(/^## /m).find((part) => part.startsWith(heading));
  assert.ok(section, `docs/errors.md has a section "${heading}"`);
  return section
    .split('\n')
    .filter((line) => line.startsWith('|') && !line.startsWith('|---'))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim().replaceAll('`', '')),
    );
}

const sorted = (values: Iterable<string>) => [...new Set(values)].sort();

function statusesIn(...files: string[]): string[] {
  const answering = /(?:refuseHttp\(\s*\w+,\s*|answerError\(\s*\w+,\s*|status: |writeHead\()([45]\d\d)\b/g;
  return files.flatMap((file) => [...read(file).matchAll(answering)].map((match) => match[1]!));
}

describe('docs/errors.md and the code name the same refusals', () => {
  const documented = rows('Refusals').filter(([code]) => /^[A-Z_]+$/.test(code!));

  test('codes of the type and of the page', () => {
    const source = read('src/gateway/refusals.ts');
    const inCode = [...source.matchAll(/'([A-Z]+(?:_[A-Z]+)*)'/g)].map((match) => match[1]!);
    assert.ok(inCode.length > 0);
    assert.deepEqual(sorted(documented.map(([code]) => code!)), sorted(inCode));
  });

  test('codes that faults lead to, with what their retry is', () => {
    const unknown = unknownTool('x').data as { code: string };
    const made = [...REFUSALS, auditUnavailable(1), ...GATES, ...TOOL_REFUSALS, ...APPROVALS].map(
      ({ code, retry }) => `${code} ${retry}`,
    );
    const told = documented.map(([code, retry]) => `${code} ${retry}`);
    assert.deepEqual(sorted(told), sorted([...made, `${unknown.code} –`]));
  });

  test('states of UPSTREAM_UNAVAILABLE', () => {
    const made = REFUSALS.flatMap(({ more }) => (typeof more.state === 'string' ? [more.state] : []));
    const told = rows('Refusals')
      .map(([state]) => state!)
      .filter((state) => /^[a-z_]+$/.test(state) && state !== 'code' && state !== 'state');
    assert.deepEqual(sorted(told), sorted(made));
  });
});

test('docs/errors.md and the code name the same JSON-RPC codes', () => {
  const told = rows('JSON-RPC')
    .map(([code]) => code!)
    .filter((code) => code.startsWith('-'));
  const sources = ['src/http/mcp-endpoint.ts', 'src/http/client-sessions.ts'].map(read).join('');
  const endpoint = [...sources.matchAll(/(?:= |code: )(-32\d{3})\b/g)].map((match) => match[1]!);
  assert.deepEqual(sorted(told), sorted([...Object.values(ErrorCode).map(String), ...endpoint]));
});

test('docs/errors.md and the code name the same HTTP statuses', () => {
  const told = rows('HTTP')
    .map(([status]) => status!)
    .filter((status) => /^\d+$/.test(status));
  const inCode = statusesIn(
    'src/http/mcp-endpoint.ts',
    'src/http/admission.ts',
    'src/http/client-sessions.ts',
    'src/http/refused-requests.ts',
    'src/http/json-body.ts',
    'src/http/router.ts',
    'src/protocol/classify.ts',
  );
  assert.deepEqual(sorted(told), sorted(inCode));
});
