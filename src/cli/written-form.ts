import type { AppliedObject } from '../resources/apply.ts';
import { toYaml } from './output.ts';
import type { AnyObject } from './printings.ts';

/** An object as somebody would write it: nothing in it that a server made up. */
export type WrittenForm = Pick<AppliedObject, 'apiVersion' | 'kind' | 'metadata' | 'spec'>;

export function writtenForm({ apiVersion, kind, metadata, spec }: AnyObject | AppliedObject): WrittenForm {
  const { name, labels } = metadata;
  const project = 'project' in metadata ? metadata.project : undefined;
  return {
    apiVersion,
    kind,
    metadata: { name, ...(project !== undefined && { project }), ...(labels && { labels }) },
    spec: spec as Record<string, unknown>,
  };
}

/** Its YAML with sorted keys below `metadata` and `spec`, so that two texts differ when two objects do. */
export function sortedYaml(object: AnyObject | AppliedObject): string {
  const { apiVersion, kind, metadata, spec } = writtenForm(object);
  const { labels, ...named } = metadata;
  return toYaml({
    apiVersion,
    kind,
    metadata: { ...named, ...(labels && { labels: sorted(labels) }) },
    spec: sorted(spec),
  });
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}
