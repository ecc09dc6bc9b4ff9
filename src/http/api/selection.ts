import { Refusal } from '../../base/errors.ts';
import type { KindName } from '../../resources/kinds.ts';
import { nearest, printable } from '../../resources/names.ts';
import {
  type FieldSelector,
  parseFieldSelector,
  parseLabelSelector,
  type Selector,
} from '../../resources/selectors.ts';
import type { ApiContext } from './responses.ts';

/** The objects that a request is about. @throws Refusal `invalid` */
export async function selectorOf(c: ApiContext, kind: KindName): Promise<Selector> {
  const labels = parseLabelSelector(c.req.query('labelSelector') ?? '', 'labelSelector');
  const fields = parseFieldSelector(c.req.query('fieldSelector') ?? '', 'fieldSelector');
  if (fields.length > 0) await refuseUnknown(fields, kind);
  return { labels, fields };
}

/** What no object of the kind can have would pick nothing, and look like an answer. */
async function refuseUnknown(fields: FieldSelector, kind: KindName): Promise<void> {
  const { fieldsBelow } = await import('./schemas.ts');
  for (const { path } of fields) {
    for (const [depth, step] of path.entries()) {
      const known = fieldsBelow(kind, path.slice(0, depth));
      if (!known) break;
      if (known.includes(step)) continue;
      const at = printable(path.slice(0, depth + 1).join('.'));
      const meant = nearest(step, known);
      const fix = meant
        ? `did you mean ${[...path.slice(0, depth), meant].join('.')}?`
        : known.length > 0
          ? `there is ${known.join(', ')}`
          : 'it has no fields of its own';
      throw new Refusal('invalid', `fieldSelector: ${at} is no field of kind ${kind}: ${fix}`);
    }
  }
}
