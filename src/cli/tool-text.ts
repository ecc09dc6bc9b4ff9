import { withHiddenShown } from '../base/hidden-characters.ts';
import type { ToolDetail } from '../http/api/live.ts';
import { ageOf, toYaml } from './output.ts';
import { unifiedDiff } from './unified-diff.ts';

export type SeenDefinition = ToolDetail['definitions'][number];

/** The definitions of a tool that nobody has accepted yet, the one that is listed now first. */
export function waitingOf({ definitions, fingerprint }: ToolDetail): SeenDefinition[] {
  const waiting = definitions.filter(({ acceptedAt }) => acceptedAt === undefined);
  return waiting.sort(
    (a, b) => Number(b.fingerprint === fingerprint) - Number(a.fingerprint === fingerprint),
  );
}

/** `held: changed`, as one reads it in a table. */
export function stateText({ state, why }: Pick<ToolDetail, 'state' | 'why'>): string {
  return why === undefined ? state : `${state}: ${why}`;
}

/** All that is known of a tool, fit for a terminal: what nobody would see stands there by its number. */
export function toolText(tool: ToolDetail): string {
  const { canonical, name, server, surface, fingerprint, findings } = tool;
  const facts = { canonical, name, server, surface, state: stateText(tool), fingerprint };
  const lines = Object.entries(facts).map(
    ([key, value]) => `${`${key}:`.padEnd(13)}${withHiddenShown(value)}`,
  );
  const last = lastAccepted(tool);
  if (last) {
    const by = last.acceptedBy ?? 'nobody: it was the first that the project saw';
    lines.push(`${'accepted:'.padEnd(13)}${ageOf(last.acceptedAt)} ago, by ${by}`);
  }
  for (const { kind, at, text } of findings) lines.push(`${'look at:'.padEnd(13)}${at}: ${kind}: ${text}`);
  const waiting = waitingOf(tool);
  const texts = waiting.map((one) => `\n${changeText(tool, one)}`);
  if (!waiting.some((one) => one.fingerprint === fingerprint))
    texts.push(`\ndefinition:\n${definitionText(tool.definition)}`);
  return [...lines, ...texts].join('\n').trimEnd();
}

/** What accepting a definition changes: the whole of it where the tool is new. */
export function changeText(tool: ToolDetail, { fingerprint, definition }: SeenDefinition): string {
  const last = lastAccepted(tool);
  const title = `waiting: ${fingerprint.slice(0, 12)}`;
  if (definition === undefined) return `${title}, which is too long to be shown`;
  const after = definitionText(definition);
  if (!last) return `${title}, new\n${after}`;
  if (last.definition === undefined) return `${title}; the accepted one is too long to be compared\n${after}`;
  const names = { before: `accepted ${last.fingerprint.slice(0, 12)}`, after: title };
  const diff = unifiedDiff(definitionText(last.definition), after, names);
  return diff === '' ? `${title}: only the order of its members differs` : diff;
}

function lastAccepted({ definitions }: ToolDetail): SeenDefinition | undefined {
  const accepted = definitions.filter(({ acceptedAt }) => acceptedAt !== undefined);
  return accepted.sort((a, b) => Date.parse(b.acceptedAt ?? '') - Date.parse(a.acceptedAt ?? ''))[0];
}

function definitionText(definition: unknown): string {
  return toYaml(shown(definition));
}

/** Keys and texts with all that is hidden in them by its number. */
function shown(value: unknown): unknown {
  if (typeof value === 'string') return withHiddenShown(value);
  if (Array.isArray(value)) return value.map(shown);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [withHiddenShown(key), shown(inner)]));
}
