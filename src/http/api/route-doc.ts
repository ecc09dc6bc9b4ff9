import type { SchemaName } from './schemas.ts';

/** What the OpenAPI document says of a route, and what the router takes from it. */
export type RouteDoc = {
  /** A short sentence without a full stop. */
  summary: string;
  /** Query parameters by name. A request with any other is refused. */
  query?: Readonly<Record<string, QueryParameter>>;
  /** Request headers of its own, by name. */
  headers?: Readonly<Record<string, string>>;
  /** Of the request. */
  body?: SchemaName;
  /** `application/x-www-form-urlencoded` instead of JSON. */
  form?: true;
  /** Of a good answer. */
  answer: SchemaName;
  /** Of each line, where `watch=true` makes lines of the answer. */
  streamed?: SchemaName;
  /** A JSON value a line instead of one for all. */
  lines?: true;
  /** Of a good answer, when it is not 200. */
  status?: 201;
};

export type QueryParameter = { description: string; type?: 'boolean' };

/** Parameters that several routes take. */
export const DRY_RUN = {
  dryRun: { description: 'Checks everything and changes nothing.', type: 'boolean' },
} as const satisfies RouteDoc['query'];

export const OF_PROJECT = {
  project: { description: 'Name of the project.' },
} as const satisfies RouteDoc['query'];

export const SELECTION = {
  labelSelector: { description: 'Such as team=red,tier in (web,api),!legacy.' },
  fieldSelector: { description: 'Such as metadata.name=github or spec.isolation!=shared.' },
} as const satisfies RouteDoc['query'];
