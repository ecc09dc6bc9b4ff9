import { setTimeout as delay } from 'node:timers/promises';
import { rootCause, transportFault } from '../endpoint/endpoint-fault.ts';
import type { Access } from '../server-client.ts';

/** How long a server that does not listen is waited for: a restart takes no longer. */
const PATIENCE_MS = 20_000;
const RETRY_MS = 250;

/** No connection was made, so nothing can have been done. */
const NEVER_SENT = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** No answer came. `sent`: the server may have got what it was sent. */
export class LinkFault extends Error {
  readonly sent: boolean;

  constructor(message: string, sent: boolean) {
    super(message);
    this.name = 'LinkFault';
    this.sent = sent;
  }
}

export type Sent = {
  method: 'GET' | 'POST' | 'DELETE';
  headers?: Record<string, string>;
  body?: string;
  signal: AbortSignal;
  /** False: a server that does not listen is a fault at once. */
  patient?: boolean;
};

/** Carries requests to the server, wherever it is by then, with the credential of then. */
export class ServerLink {
  readonly #find: (refused?: string) => Promise<Access>;
  #access: Access;
  readonly #finding = new Map<string | undefined, Promise<Access>>();

  constructor(find: (refused?: string) => Promise<Access>, access: Access) {
    this.#find = find;
    this.#access = access;
  }

  /**
   * Sends once, and once more with another credential after a 401 where there is one.
   * @throws LinkFault, or the reason of `signal`
   */
  async send(path: string, sent: Sent): Promise<Response> {
    const used = this.#access;
    const response = await this.#connected(path, sent);
    if (response.status !== 401) return response;
    if (this.#access.credential === used.credential) await this.#lookAgain(used.credential);
    if (this.#access.credential === used.credential) return response;
    await response.body?.cancel();
    return this.#connected(path, sent);
  }

  async #connected(path: string, { patient = true, ...sent }: Sent): Promise<Response> {
    const end = performance.now() + (patient ? PATIENCE_MS : 0);
    for (;;) {
      const { url, credential } = this.#access;
      try {
        return await fetch(new URL(path, url), {
          ...sent,
          redirect: 'manual',
          headers: { ...sent.headers, authorization: `Bearer ${credential}` },
        });
      } catch (error) {
        sent.signal.throwIfAborted();
        const never = NEVER_SENT.has(rootCause(error).code);
        if (!never || performance.now() >= end)
          throw new LinkFault(transportFault(url, error, PATIENCE_MS).message, !never);
      }
      await delay(RETRY_MS, undefined, { signal: sent.signal });
      // A server that starts anew may listen elsewhere.
      await this.#lookAgain(undefined);
    }
  }

  /** Many requests at once look once. Where nothing is found, all stays as it is. */
  async #lookAgain(refused: string | undefined): Promise<void> {
    let finding = this.#finding.get(refused);
    if (!finding) {
      finding = this.#find(refused).finally(() => this.#finding.delete(refused));
      this.#finding.set(refused, finding);
    }
    this.#access = await finding.catch(() => this.#access);
  }
}
