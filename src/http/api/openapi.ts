import { z } from 'zod';
import { KINDS } from '../../resources/kinds.ts';
import type { Route } from './route.ts';
import type { QueryParameter } from './route-doc.ts';
import { apiSchemas } from './schemas.ts';

type Json = Record<string, unknown>;
/** A route as it is documented: one for each kind where its path begins with `:kind`. */
type DocumentedRoute = Route & { kind?: string };

const LINES = 'application/x-ndjson';

/** The OpenAPI 3.1 document of the routes. Schemas are JSON Schema 2020-12. */
export function openApiDocument(routes: readonly Route[], version: string): Json {
  const paths: Record<string, Json> = {};
  for (const route of routes.flatMap(ofEachKind)) {
    const path = `/api/v1${route.path.replace(/:(\w+)/g, '{$1}')}`;
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Castellan', version, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    servers: [{ url: '/' }],
    security: [{ bearer: [] }],
    paths,
    components: {
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } },
      schemas: componentSchemas(),
      responses: RESPONSES,
    },
  };
}

function ofEachKind(route: Route): DocumentedRoute[] {
  if (!route.path.startsWith('/:kind')) return [route];
  const stored = KINDS.filter(({ kind }) => kind !== 'McpToken');
  return stored.map(({ kind, plural }) => ({ ...route, kind, path: route.path.replace(':kind', plural) }));
}

function operation({ method, path, need, doc, kind }: DocumentedRoute): Json {
  const named = (schema: string) => ({
    schema: { $ref: `#/components/schemas/${schema.replace(/^Kind/, kind ?? 'Kind')}` },
  });
  const type = doc.form ? 'application/x-www-form-urlencoded' : 'application/json';
  const parameters = [
    ...pathParameters(path),
    ...queryParameters(doc.query),
    ...headerParameters(doc.headers),
  ];
  return {
    operationId: operationId(method, path),
    summary: kind === undefined ? doc.summary : doc.summary.replace('KIND', kind),
    ...(need === 'nobody' ? { security: [] } : {}),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(doc.body ? { requestBody: { required: true, content: { [type]: named(doc.body) } } } : {}),
    responses: {
      [doc.status ?? 200]: {
        description: 'Done.',
        content: {
          [doc.lines ? LINES : 'application/json']: named(doc.answer),
          ...(doc.streamed && { [LINES]: named(doc.streamed) }),
        },
      },
      ...Object.fromEntries(
        refusals({ method, path, need, doc }).map((status) => [
          status,
          { $ref: `#/components/responses/${status}` },
        ]),
      ),
    },
  };
}

function operationId(method: string, path: string): string {
  const words = path.split('/').filter((word) => word !== '');
  const named = words.map((word) => {
    const plain = word.replace(/^:/, 'by-').replace(/\W+(\w)/g, (_, letter: string) => letter.toUpperCase());
    return plain.charAt(0).toUpperCase() + plain.slice(1);
  });
  return method.toLowerCase() + named.join('');
}

function pathParameters(path: string): Json[] {
  return [...path.matchAll(/:(\w+)/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    ...(name === 'name' ? { description: 'Its name or its id.' } : {}),
    schema: { type: 'string' },
  }));
}

function queryParameters(query: Readonly<Record<string, QueryParameter>> = {}): Json[] {
  return Object.entries(query).map(([name, { description, type = 'string' }]) => ({
    name,
    in: 'query',
    description,
    schema: { type },
  }));
}

function headerParameters(headers: Readonly<Record<string, string>> = {}): Json[] {
  return Object.entries(headers).map(([name, description]) => ({
    name,
    in: 'header',
    description,
    schema: { type: 'string' },
  }));
}

const SAID: Readonly<Record<number, string>> = {
  400: 'INVALID: something in the request is wrong; the message names it.',
  401: 'UNAUTHENTICATED: no credential, or one that is not valid.',
  403: 'FORBIDDEN: a right is missing; the message names it.',
  404: 'NOT_FOUND: there is no such object that the caller may see.',
  409: 'CONFLICT: the object is in another state, belongs to a file, or is needed elsewhere.',
  410: 'EXPIRED: what happened since then is not known any more; list anew.',
  412: 'CONFLICT: If-Match or If-None-Match does not hold.',
  413: 'TOO_LARGE: the body is larger than 4 MiB.',
  429: 'RATE_LIMITED: the caller has too much open already; Retry-After says when to come back.',
  500: 'INTERNAL: a fault of the server; its log says which.',
  503: 'UNAVAILABLE: the database does not answer; Retry-After says when to come back.',
};

const RESPONSES = Object.fromEntries(
  Object.entries(SAID).map(([status, description]) => [
    status,
    { description, content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } } },
  ]),
);

function refusals({ method, path, need, doc }: Omit<Route, 'handle'>): number[] {
  if (need === 'nobody') return [500];
  const changes = method !== 'GET';
  return [
    ...(doc.query || doc.body || doc.headers ? [400] : []),
    401,
    403,
    ...(path.includes(':') ? [404] : []),
    ...(changes ? [409] : []),
    ...(doc.headers ? [412] : []),
    ...(doc.body ? [413] : []),
    ...(doc.streamed ? [410, 429] : []),
    500,
    503,
  ];
}

function componentSchemas(): Json {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(apiSchemas())) registry.add(schema, { id });
  const { schemas } = z.toJSONSchema(registry, {
    uri: (id) => `#/components/schemas/${id}`,
    io: 'input',
  });
  for (const schema of Object.values(schemas)) {
    delete schema.$schema;
    delete schema.$id;
  }
  return schemas;
}
