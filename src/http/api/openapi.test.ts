import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KINDS } from '../../resources/kinds.ts';
import { type ApiDeps, apiRoutes, createApi } from './api.ts';
import { openApiDocument } from './openapi.ts';

// Nothing is called: routes are looked at, not asked.
const deps = { version: '1.2.3', store: {} } as ApiDeps;
const METHODS = ['get', 'put', 'post', 'delete'];

type Operation = {
  operationId: string;
  summary: string;
  parameters?: { name: string; in: string }[];
  responses: Record<string, unknown>;
};
type Document = {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, unknown>; responses: Record<string, unknown> };
};

async function served(): Promise<Document> {
  const answer = await createApi(deps).request('/openapi.json');
  assert.equal(answer.status, 200);
  return (await answer.json()) as Document;
}

test('the document names what the router routes, and nothing else', async () => {
  const stored = KINDS.filter(({ kind }) => kind !== 'McpToken');
  const routed = createApi(deps)
    .routes.filter(({ method }) => method !== 'ALL')
    .flatMap(({ method, path }) => {
      const paths = path.startsWith('/:kind')
        ? stored.map(({ plural }) => path.replace(':kind', plural))
        : [path];
      return paths.map((one) => `${method} /api/v1${one.replace(/:(\w+)/g, '{$1}')}`);
    });
  const { paths } = await served();
  const documented = Object.entries(paths).flatMap(([path, item]) =>
    Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`),
  );
  assert.ok(documented.length > 30, `${documented.length} operations`);
  assert.deepEqual(documented.sort(), routed.sort());
});

test('operations are told apart, and each says what it refuses', async () => {
  const { paths, components } = await served();
  const operations = Object.values(paths).flatMap((item) => Object.values(item));
  const ids = operations.map(({ operationId }) => operationId);
  assert.deepEqual(new Set(ids).size, ids.length, ids.join(' '));
  for (const { operationId, summary, responses } of operations) {
    assert.match(summary, /^[A-Z][^.]*$/, operationId);
    assert.doesNotMatch(summary, /KIND/);
    assert.ok(responses['500'], `${operationId} does not say that it may fail`);
    assert.ok(operationId === 'getOpenapiJson' || responses['401'], operationId);
  }
  assert.ok(
    Object.values(paths).every((item) => Object.keys(item).every((method) => METHODS.includes(method))),
  );
  const put = paths['/api/v1/servers/{name}']?.put;
  assert.deepEqual(Object.keys(put?.responses ?? {}), '200 400 401 403 404 409 412 413 500 503'.split(' '));
  assert.deepEqual(
    put?.parameters?.map(({ name, in: place }) => `${place} ${name}`),
    ['path name', 'query dryRun', 'query createOnly', 'header if-match', 'header if-none-match'],
  );
  assert.ok(components.responses['409']);
});

test('every reference leads somewhere, and every schema is used', async () => {
  const document = await served();
  const text = JSON.stringify(document);
  const referred = new Set(
    [...text.matchAll(/"\$ref":"#\/components\/(\w+)\/(\w+)"/g)].map(([, a, b]) => `${a}/${b}`),
  );
  const known = Object.entries(document.components).flatMap(([group, items]) =>
    Object.keys(items).map((name) => `${group}/${name}`),
  );
  const missing = [...referred].filter((name) => !known.includes(name));
  assert.deepEqual(missing, []);
  const unused = known.filter((name) => name.startsWith('schemas/') && !referred.has(name));
  assert.deepEqual(unused, []);
  assert.doesNotMatch(text, /"\$(id|schema)"/);
});

test('a document of no routes has no paths', () => {
  assert.deepEqual(openApiDocument([], '1').paths, {});
  assert.ok(apiRoutes(deps).every(({ doc }) => doc.summary !== ''));
});
