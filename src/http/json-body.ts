import { isUtf8 } from 'node:buffer';
import type { IncomingMessage } from 'node:http';
import { countMembers, scanJson } from '../protocol/body-scan.ts';

/** Why a body is not taken, as the status and sentence to answer with; `code` is the JSON-RPC one. */
export type BodyFault = { status: 400 | 413 | 415; code: number; message: string };

export type JsonBody = { ok: true; value: unknown } | { ok: false; fault: BodyFault };

const MAX_DEPTH = 64;
const MAX_DISCARDED = 16 * 1024 * 1024;
const DISCARD_MS = 2_000;
const PARSE_ERROR = -32700;
const INVALID_REQUEST = -32600;
const MEDIA_TYPE = /^application\/json\s*(?:;\s*charset\s*=\s*"?utf-8"?\s*)?$/i;

/** Checks the headers before a byte is read: type, coding and announced length. */
export function bodyHeaderFault(req: IncomingMessage, maxBytes: number): BodyFault | undefined {
  const type = req.headers['content-type'];
  if (type !== 'application/json' && (type === undefined || !MEDIA_TYPE.test(type))) {
    return { status: 415, code: INVALID_REQUEST, message: 'Content-Type must be application/json (UTF-8)' };
  }
  const coding = req.headers['content-encoding'];
  if (coding !== undefined && coding !== 'identity') {
    return {
      status: 415,
      code: INVALID_REQUEST,
      message: 'Content-Encoding is not supported: send the body as it is',
    };
  }
  const length = req.headers['content-length'];
  return length !== undefined && Number(length) > maxBytes ? tooLarge(maxBytes) : undefined;
}

/**
 * Reads at most `maxBytes` and calls back once, or never where the client goes away in between: for Node that is no
 * error of a request unless somebody listens for errors.
 */
export function readBody(
  req: IncomingMessage,
  maxBytes: number,
  done: (body: Buffer | BodyFault) => void,
): void {
  const chunks: Buffer[] = [];
  let size = 0;
  const take = (chunk: Buffer) => {
    size += chunk.length;
    if (size > maxBytes) {
      req.off('data', take).off('end', end);
      req.pause();
      done(tooLarge(maxBytes));
    } else chunks.push(chunk);
  };
  const end = () => done(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, size));
  req.on('data', take).on('end', end);
}

/**
 * Throws away what is left of a refused body, up to a bound and for a moment. A connection that is closed while its
 * client still writes is reset, and the client may never see why.
 */
export function discardRest(req: IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    let size = 0;
    const stop = () => {
      clearTimeout(timer);
      req.off('data', skip);
      req.pause();
      resolve();
    };
    const skip = (chunk: Buffer) => {
      size += chunk.length;
      if (size > MAX_DISCARDED) stop();
    };
    const timer = setTimeout(stop, DISCARD_MS);
    req.on('data', skip);
    for (const event of ['end', 'close', 'error'] as const) req.once(event, stop);
    req.resume();
  });
}

/** Parses once; refuses what two parsers could read differently. */
export function parseBody(bytes: Buffer): JsonBody {
  if (!isUtf8(bytes)) return refuse(PARSE_ERROR, 'Parse error: the body is not UTF-8');
  const text = bytes.toString('utf8');
  // Depth first: what comes after recurses.
  const { tooDeep, members } = scanJson(text, MAX_DEPTH);
  if (tooDeep) return refuse(INVALID_REQUEST, `The body is nested deeper than ${MAX_DEPTH} levels`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return refuse(PARSE_ERROR, 'Parse error: the body is not JSON');
  }
  if (countMembers(value) !== members)
    return refuse(INVALID_REQUEST, 'The body names a key twice in one object');
  return { ok: true, value };
}

function refuse(code: number, message: string): JsonBody {
  return { ok: false, fault: { status: 400, code, message } };
}

function tooLarge(maxBytes: number): BodyFault {
  return { status: 413, code: INVALID_REQUEST, message: `The body is over the limit of ${maxBytes} bytes` };
}
