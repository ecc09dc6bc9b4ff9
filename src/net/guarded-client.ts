import { Resolver } from 'node:dns/promises';
import { isIP, type LookupFunction } from 'node:net';
import type { Dispatcher } from 'undici';
import Pool from 'undici/lib/dispatcher/pool.js';
import { ok, type Result, refused } from '../base/result.ts';
import { isPublicAddress } from './public-address.ts';

const MAX_AT_ONCE = 32;
const MAX_URL_LENGTH = 2048;

export type GuardedRequest = {
  method?: 'GET' | 'POST';
  /** Lower-case names. */
  headers?: Readonly<Record<string, string>>;
  body?: string;
  /** Of the body of the answer; 0: it is not waited for, whatever it is. */
  maxBytes: number;
  /** From the name look-up to the last byte. */
  timeoutMs: number;
  /** Origins that the operator named: reached wherever they lie, and over http if they say so. */
  allowOrigins?: readonly string[];
};

/** Whatever the status; a redirect is an answer like others, and nobody follows it. */
export type GuardedAnswer = {
  status: number;
  /** Lower-case names. */
  headers: Readonly<Record<string, string | string[] | undefined>>;
  body: Buffer;
};

/**
 * url: not https, or with a user, or too long · unreachable: no such host, none that may be asked, or no whole answer;
 * nobody learns which · encoded: the body is compressed · busy: too many requests are under way
 */
export type GuardedFault = 'url' | 'unreachable' | 'timeout' | 'too_large' | 'encoded' | 'busy';

/**
 * HTTP towards whatever a stranger can name: only https, only to public addresses. The name is looked up once, every
 * address of the answer is checked, and the connection goes to those. Nothing is kept between two requests: no
 * socket, no cookie, no cache. Compressed answers are not opened.
 */
export class GuardedClient {
  #underWay = 0;

  /** Never rejects for what the other side does. */
  async fetch(url: string, request: GuardedRequest): Promise<Result<GuardedAnswer, GuardedFault>> {
    const target = askable(url);
    if (!target) return refused('url');
    const exempt = request.allowOrigins?.includes(target.origin) === true;
    if (!exempt && target.protocol !== 'https:') return refused('url');
    if (this.#underWay >= MAX_AT_ONCE) return refused('busy');
    this.#underWay += 1;
    try {
      const deadline = performance.now() + request.timeoutMs;
      const addresses = exempt ? undefined : await publicAddresses(target, request.timeoutMs);
      if (addresses === 'timeout') return refused('timeout');
      if (addresses?.length === 0) return refused('unreachable');
      return await exchange(target, addresses, request, deadline);
    } finally {
      this.#underWay -= 1;
    }
  }
}

function askable(text: string): URL | undefined {
  const url = text.length > MAX_URL_LENGTH ? null : URL.parse(text);
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:')) return undefined;
  return url.username === '' && url.password === '' ? url : undefined;
}

/** The addresses to connect to; none when even one of them is not public. */
async function publicAddresses(target: URL, timeoutMs: number): Promise<string[] | 'timeout'> {
  const host = target.hostname.replace(/^\[|\]$/g, '');
  const found = isIP(host) ? [host] : await lookUp(host, timeoutMs);
  if (found === 'timeout') return found;
  return found.every(isPublicAddress) ? found : [];
}

/** Asks the name servers, not the system: its look-ups cannot be ended, and a few slow ones stop all file access. */
async function lookUp(host: string, timeoutMs: number): Promise<string[] | 'timeout'> {
  const resolver = new Resolver({ timeout: Math.ceil(timeoutMs / 2), tries: 2 });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    resolver.cancel();
  }, timeoutMs);
  try {
    const answers = await Promise.all([
      resolver.resolve4(host).catch(() => []),
      resolver.resolve6(host).catch(() => []),
    ]);
    return late ? 'timeout' : answers.flat();
  } finally {
    clearTimeout(timer);
  }
}

/** One request on a connection of its own. `addresses` are the only ones that its name leads to. */
async function exchange(
  target: URL,
  addresses: readonly string[] | undefined,
  request: GuardedRequest,
  deadline: number,
): Promise<Result<GuardedAnswer, GuardedFault>> {
  const leftMs = Math.max(1, deadline - performance.now());
  const pool = new Pool(target.origin, {
    connections: 1,
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: {
      timeout: leftMs,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2',
      autoSelectFamily: true,
      ...(addresses && { lookup: pinnedTo(addresses) }),
    },
  });
  const settled = Promise.withResolvers<Result<GuardedAnswer, GuardedFault>>();
  const timer = setTimeout(() => settled.resolve(refused('timeout')), leftMs);
  const { method = 'GET', headers = {}, body } = request;
  pool.dispatch(
    {
      path: `${target.pathname}${target.search}`,
      method,
      headers: { 'accept-encoding': 'identity', ...headers },
      body,
    },
    new AnswerReader(request.maxBytes, settled.resolve),
  );
  try {
    return await settled.promise;
  } finally {
    clearTimeout(timer);
    await pool.destroy();
  }
}

/** A look-up that was done before, and is not done again. */
function pinnedTo(addresses: readonly string[]): LookupFunction {
  const known = addresses.map((address) => ({ address, family: isIP(address) }));
  return (_host, { all }, callback) => {
    if (all) callback(null, known);
    else callback(null, known[0]!.address, known[0]!.family);
  };
}

class AnswerReader implements Dispatcher.DispatchHandler {
  readonly #maxBytes: number;
  readonly #settle: (outcome: Result<GuardedAnswer, GuardedFault>) => void;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  #status = 0;
  #headers: GuardedAnswer['headers'] = {};

  constructor(maxBytes: number, settle: (outcome: Result<GuardedAnswer, GuardedFault>) => void) {
    this.#maxBytes = maxBytes;
    this.#settle = settle;
  }

  onRequestStart(): void {}

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: GuardedAnswer['headers'],
  ): void {
    this.#status = status;
    this.#headers = headers;
    if (this.#maxBytes === 0) {
      if (status >= 200) this.onResponseEnd();
      return;
    }
    const encoding = headers['content-encoding'] ?? 'identity';
    if (encoding !== 'identity') this.#settle(refused('encoded'));
    else if (Number(headers['content-length'] ?? 0) > this.#maxBytes) this.#settle(refused('too_large'));
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#maxBytes) this.#settle(refused('too_large'));
    else this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    const body = Buffer.concat(this.#chunks);
    this.#settle(ok({ status: this.#status, headers: this.#headers, body }));
  }

  onResponseError(): void {
    this.#settle(refused('unreachable'));
  }
}
