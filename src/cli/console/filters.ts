import type { RecordedEvent } from '../../audit/row.ts';

/** Fields by which the timeline is narrowed: the key that picks each, and its name in the REST API. */
export const FILTERS = [
  { key: 'u', field: 'user' },
  { key: 't', field: 'token' },
  { key: 'p', field: 'project' },
  { key: 'f', field: 'surface' },
  { key: 's', field: 'server' },
  { key: 'o', field: 'tool' },
  { key: 'e', field: 'event' },
  { key: 'r', field: 'outcome' },
] as const;

export type FilterField = (typeof FILTERS)[number]['field'];
export type Filter = { readonly [field in FilterField]?: string };

const PATTERNED: ReadonlySet<FilterField> = new Set(['event', 'tool']);

/** What the server would answer for the same filter: equal, or begun alike where the value ends in `*`. */
export function matches(event: RecordedEvent, filter: Filter): boolean {
  return FILTERS.every(({ field }) => {
    const wanted = filter[field];
    if (wanted === undefined) return true;
    const value = event[field];
    if (PATTERNED.has(field) && wanted.endsWith('*')) return value?.startsWith(wanted.slice(0, -1)) ?? false;
    return value === wanted;
  });
}

/** The filter with one field changed; an empty value lifts it. */
export function withField(filter: Filter, field: FilterField, value: string): Filter {
  const { [field]: _, ...others } = filter;
  return value === '' ? others : { ...others, [field]: value };
}

/** Whether a text that is searched for stands anywhere in the event. */
export function contains(event: RecordedEvent, search: string): boolean {
  return search !== '' && JSON.stringify(event).toLowerCase().includes(search.toLowerCase());
}
