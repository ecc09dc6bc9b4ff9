import { parseFieldSelector, parseLabelSelector, type Selector } from '../../resources/selectors.ts';
import type { ApiContext } from './responses.ts';

/** The objects that a request is about. @throws Refusal `invalid` */
export function selectorOf(c: ApiContext): Selector {
  return {
    labels: parseLabelSelector(c.req.query('labelSelector') ?? '', 'labelSelector'),
    fields: parseFieldSelector(c.req.query('fieldSelector') ?? '', 'fieldSelector'),
  };
}
