import { createHash } from 'node:crypto';
import { type Context, Hono } from 'hono';
import type { Issuers } from '../../oauth/issuers.ts';
import { type RegistrationWays, resourceMetadata, serverMetadata } from '../../oauth/metadata.ts';
import { resourceAt } from '../../oauth/protected-resources.ts';
import type { Snapshot } from '../../resources/spec.ts';

export type MetadataDeps = {
  issuers: Issuers;
  ways: RegistrationWays;
  snapshot(): Pick<Snapshot, 'projects'>;
};

const RESOURCE_PREFIX = '/.well-known/oauth-protected-resource';

/** What clients read before they ask for access (RFC 8414, RFC 9728). */
export function metadataRoutes(deps: MetadataDeps): Hono {
  const { issuers, ways } = deps;
  const app = new Hono();
  const issuerOf = (c: Context) => issuers.of(c.req.header('host'));
  app.get('/.well-known/oauth-authorization-server', (c) => {
    const issuer = issuerOf(c);
    return issuer === undefined ? nothing(c) : document(c, serverMetadata(issuer, ways));
  });
  app.get(`${RESOURCE_PREFIX}/*`, (c) => {
    const issuer = issuerOf(c);
    const path = new URL(c.req.url).pathname.slice(RESOURCE_PREFIX.length);
    const resource = resourceAt(path);
    const there = resource && (resource.api || deps.snapshot().projects.has(resource.project));
    return issuer === undefined || !resource || !there
      ? nothing(c)
      : document(c, resourceMetadata(issuer, path, resource));
  });
  return app;
}

function nothing(c: Context) {
  return c.json({ error: 'not_found', error_description: 'there is no such metadata here' }, 404);
}

function document(c: Context, value: object) {
  const text = JSON.stringify(value);
  const etag = `"${createHash('sha256').update(text).digest('base64url').slice(0, 22)}"`;
  c.header('etag', etag);
  c.header('cache-control', 'public, max-age=300');
  c.header('vary', 'host, origin');
  c.header('x-content-type-options', 'nosniff');
  if (c.req.header('if-none-match') === etag) return c.body(null, 304);
  return c.body(text, 200, { 'content-type': 'application/json' });
}
