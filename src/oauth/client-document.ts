/**
 * Clients whose id is the address of a document about them: draft-ietf-oauth-client-id-metadata-document-00, as MCP
 * 2026-07-28 names it.
 */

import { isMapping } from '../base/mapping.ts';
import { type Result, refused } from '../base/result.ts';
import type { ClientRecord } from './clients.ts';
import { type DescribedClient, describedClient } from './described-client.ts';

const MAX_ID = 1000;
const MAX_FRESH_MS = 86_400_000;

/**
 * The address that a client id is: https, with a path, and written as it would be asked for, so that no two ids lead to
 * one document. Undefined for other ids.
 */
export function documentUrl(clientId: string): URL | undefined {
  if (!clientId.startsWith('https://') || clientId.length > MAX_ID) return undefined;
  const url = URL.parse(clientId);
  if (!url || url.href !== clientId || clientId.includes('#')) return undefined;
  return url.pathname !== '/' && url.username === '' && url.password === '' ? url : undefined;
}

/** What the document at `clientId` says; the error says why nobody is to be sent anywhere on its account. */
export function clientOfDocument(clientId: string, text: string): Result<DescribedClient, string> {
  let metadata: unknown;
  try {
    metadata = JSON.parse(text);
  } catch {
    return refused('is no JSON');
  }
  if (!isMapping(metadata)) return refused('is no JSON object');
  if (metadata.client_id !== clientId) return refused('has another client_id');
  if (typeof metadata.client_name !== 'string') return refused('has no client_name');
  if (!Array.isArray(metadata.redirect_uris) || metadata.redirect_uris.length === 0)
    return refused('has no redirect_uris');
  // Whatever everybody can read proves nothing.
  if ('client_secret' in metadata || 'client_secret_expires_at' in metadata)
    return refused('holds a client_secret');
  const { scope: _, ...rest } = metadata;
  const described = describedClient(rest, { methods: ['none', 'private_key_jwt'], dropsOtherGrants: true });
  return described.ok ? described : refused(described.error.description);
}

export function documentRecord(clientId: string, { jwksUri: _, ...client }: DescribedClient): ClientRecord {
  return { ...client, clientId, source: 'metadata-document' };
}

/** For how long an answer may be used without asking again, ms (RFC 9111): no time when it does not say. */
export function freshFor(
  headers: Readonly<Record<string, string | string[] | undefined>>,
  now: number,
): number {
  const control = String(headers['cache-control'] ?? '').toLowerCase();
  if (/\b(no-store|no-cache)\b/.test(control)) return 0;
  const [, seconds] = /(?:^|[,\s])max-age="?(\d{1,9})/.exec(control) ?? [];
  const age = Number(headers.age ?? 0) || 0;
  const expires = typeof headers.expires === 'string' ? Date.parse(headers.expires) - now : Number.NaN;
  const ms = seconds === undefined ? expires : (Number(seconds) - age) * 1000;
  return Number.isNaN(ms) ? 0 : Math.min(Math.max(ms, 0), MAX_FRESH_MS);
}
