import { Refusal } from '../base/errors.ts';
import type { AuditEventsTable } from '../store/schema.ts';
import { EVENTS, OUTCOMES } from './event.ts';

/** Fields by which events are found; `event`, `tool` and `target` may end in `*`. */
export const FILTERS = {
  event: 'event',
  outcome: 'outcome',
  actor: 'actor',
  user: 'user_name',
  token: 'token_name',
  tokenSha: 'token_sha',
  behind: 'behind',
  address: 'address',
  project: 'project',
  surface: 'surface',
  server: 'server',
  tool: 'tool',
  target: 'target',
  trace: 'trace',
  digest: 'digest',
  intent: 'intent',
  chain: 'chain',
  seq: 'seq',
} as const satisfies Record<string, keyof AuditEventsTable>;

type FilterName = keyof typeof FILTERS;
export type AuditFilter = { readonly [name in FilterName]?: string };

const CHOICES: { readonly [name in FilterName]?: readonly string[] } = {
  outcome: OUTCOMES,
  actor: ['user', 'token', 'castellan', 'stranger'],
  surface: ['consumer', 'operator'],
};
const SHAPES: { readonly [name in FilterName]?: [shape: RegExp, told: string] } = {
  seq: [/^\d{1,15}$/, 'must be a number'],
  tokenSha: [/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits, as `get mcptoken NAME -o json` shows them'],
  trace: [/^[0-9a-f]{32}$/, 'must be 32 hexadecimal digits'],
};

/** The filter, if every value is one that a row can have. @throws Refusal `invalid` naming the field and the fix */
export function checkedFilter(filter: AuditFilter): AuditFilter {
  for (const [name, value] of Object.entries(filter) as [FilterName, string][]) {
    const choices = CHOICES[name];
    if (choices && !choices.includes(value)) throw wrong(name, `must be ${choices.join(', ')}`);
    const [shape, told] = SHAPES[name] ?? [];
    if (shape && !shape.test(value)) throw wrong(name, told ?? '');
    if (name === 'event' && !isEvent(value))
      throw wrong(
        name,
        'is none: write one of docs/audit.md, such as tool.call, or several, such as token.*',
      );
  }
  return filter;
}

function isEvent(value: string): boolean {
  if (!value.endsWith('*')) return Object.hasOwn(EVENTS, value);
  return Object.keys(EVENTS).some((event) => event.startsWith(value.slice(0, -1)));
}

function wrong(name: FilterName, told: string): Refusal {
  return new Refusal('invalid', `${name}: ${told}`);
}
