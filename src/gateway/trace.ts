import { randomUUID } from 'node:crypto';
import { isObject } from '../protocol/jsonrpc.ts';

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-|$)/;

/** The trace that the caller is in (W3C Trace Context, `_meta` before the header), else one of our own. */
export function traceOf(meta: unknown, header: string | undefined): string {
  const given = isObject(meta) && typeof meta.traceparent === 'string' ? meta.traceparent : header;
  const found = given === undefined ? undefined : TRACEPARENT.exec(given)?.[1];
  // Node draws these many at a time; a call to the system's generator each costs three times as much.
  return found ?? randomUUID().replaceAll('-', '');
}
