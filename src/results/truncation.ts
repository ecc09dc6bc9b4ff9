/** What is left of the lists and texts within JSON; undefined: all. */
export type Truncation = {
  /** Of each list, so many first items. */
  items: number | undefined;
  /** Of each text, so many first UTF-16 code units. */
  characters: number | undefined;
};

/** What lies deeper stays as it is. */
const MAX_DEPTH = 64;

/** The value with its lists and texts cut, each saying what is missing; the very same value where nothing was cut. */
export function truncated(value: unknown, rule: Truncation, depth = 1): unknown {
  if (typeof value === 'string') return shortText(value, rule.characters ?? Number.POSITIVE_INFINITY);
  if (typeof value !== 'object' || value === null || depth > MAX_DEPTH) return value;
  if (Array.isArray(value)) return shortList(value, rule, depth);
  const entries = Object.entries(value).map(([key, one]) => [key, truncated(one, rule, depth + 1)] as const);
  const same = entries.every(([key, one]) => one === (value as Record<string, unknown>)[key]);
  return same ? value : Object.fromEntries(entries);
}

function shortText(text: string, most: number): string {
  if (text.length <= most) return text;
  // The first half of a surrogate pair is no character.
  const pair = /[\ud800-\udbff]/.test(text.charAt(most - 1));
  const kept = text.slice(0, pair ? most - 1 : most);
  return `${kept}… (${text.length - kept.length} more characters)`;
}

function shortList(list: readonly unknown[], rule: Truncation, depth: number): unknown {
  const most = rule.items ?? Number.POSITIVE_INFINITY;
  const kept = list.slice(0, most).map((one) => truncated(one, rule, depth + 1));
  if (list.length > most) return [...kept, `… (${list.length - most} more items)`];
  return kept.every((one, index) => one === list[index]) ? list : kept;
}
