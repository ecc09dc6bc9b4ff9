import { randomFillSync } from 'node:crypto';
import { isObject } from '../protocol/jsonrpc.ts';

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-|$)/;
const ID_BYTES = 16;
/** Drawn many at a time: a call to the system's generator for each costs ten times as much. */
const drawn = Buffer.alloc(ID_BYTES * 256);
let used = drawn.length;

/** The trace that the caller is in (W3C Trace Context, `_meta` before the header), else one of our own. */
export function traceOf(meta: unknown, header: string | undefined): string {
  const given = isObject(meta) && typeof meta.traceparent === 'string' ? meta.traceparent : header;
  const found = given === undefined ? undefined : TRACEPARENT.exec(given)?.[1];
  return found ?? newTrace();
}

function newTrace(): string {
  if (used === drawn.length) {
    randomFillSync(drawn);
    used = 0;
  }
  used += ID_BYTES;
  return drawn.toString('hex', used - ID_BYTES, used);
}
