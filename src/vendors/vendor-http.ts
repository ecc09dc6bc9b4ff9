import { ok, type Result, refused } from '../base/result.ts';
import type { GuardedAnswer, GuardedClient, GuardedFault, GuardedRequest } from '../net/guarded-client.ts';
import { prove, type VendorClient } from './client-proof.ts';

const MAX_BYTES = 256 * 1024;
const TIMEOUT_MS = 10_000;
const ERROR_CODE = /^[a-z_]{1,64}$/;

export type VendorAnswer = {
  status: number;
  /** Undefined: no JSON. */
  json: unknown;
  /** The OAuth error code; descriptions are a stranger's words and are not kept. */
  error: string | undefined;
  challenge: string | undefined;
  retryAfterMs: number | undefined;
};

const FAULTS: Readonly<Record<GuardedFault, string>> = {
  url: 'is no https address, and its origin is not in auth.discoveryAllowlist',
  unreachable:
    'cannot be reached at a public address; an origin in auth.discoveryAllowlist may lie elsewhere',
  timeout: 'did not answer in time',
  too_large: 'answered with too much',
  encoded: 'answered with a compressed body, which nobody asked for',
  busy: 'was not asked: too many requests of this kind are under way',
};

/** Requests to servers' authorization servers. Never rejects for what the other side does; no redirect is followed. */
export class VendorHttp {
  readonly #client: GuardedClient;

  constructor(client: GuardedClient) {
    this.#client = client;
  }

  get(url: string, origins: readonly string[]): Promise<Result<VendorAnswer, string>> {
    return this.#ask(url, origins, {});
  }

  post(url: string, origins: readonly string[], value: object): Promise<Result<VendorAnswer, string>> {
    const headers = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' };
    return this.#ask(url, origins, { method: 'POST', headers, body: JSON.stringify(value) });
  }

  /** A form with the proof of the client (RFC 6749 section 3.2). */
  async form(
    url: string,
    origins: readonly string[],
    fields: Readonly<Record<string, string | undefined>>,
    client: VendorClient,
  ): Promise<Result<VendorAnswer, string>> {
    const form = new URLSearchParams();
    for (const [name, value] of Object.entries(fields)) if (value !== undefined) form.set(name, value);
    const headers: Record<string, string> = { 'content-type': 'application/x-www-form-urlencoded' };
    await prove(client, form, headers);
    return this.#ask(url, origins, { method: 'POST', headers, body: form.toString() });
  }

  async #ask(
    url: string,
    allowOrigins: readonly string[],
    { headers, ...request }: Partial<GuardedRequest>,
  ): Promise<Result<VendorAnswer, string>> {
    const answer = await this.#client.fetch(url, {
      ...request,
      headers: { accept: 'application/json', ...headers },
      maxBytes: MAX_BYTES,
      timeoutMs: TIMEOUT_MS,
      allowOrigins,
    });
    return answer.ok ? ok(read(answer.value)) : refused(FAULTS[answer.error]);
  }
}

function read({ status, headers, body }: GuardedAnswer): VendorAnswer {
  const json = parsed(body.toString('utf8'));
  const said = typeof json === 'object' && json !== null ? (json as { error?: unknown }).error : undefined;
  const error = typeof said === 'string' ? (ERROR_CODE.test(said) ? said : 'unnamed') : undefined;
  const challenge = [headers['www-authenticate'] ?? []].flat().join(', ') || undefined;
  const seconds = Number(headers['retry-after']);
  const retryAfterMs = seconds > 0 && seconds < 86_400 ? seconds * 1_000 : undefined;
  return { status, json, error, challenge, retryAfterMs };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
