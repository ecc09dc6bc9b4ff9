import type { IncomingMessage } from 'node:http';
import type { ClientAddresses } from '../limits/client-address.ts';

/** Whose request it is, as limits and the audit name them. */
export class RequestAddresses {
  readonly #addresses: ClientAddresses;

  constructor(addresses: ClientAddresses) {
    this.#addresses = addresses;
  }

  /** What counts as one: limits and counted rows go by it. */
  network(req: IncomingMessage): string {
    return this.#addresses.network(req.socket.remoteAddress, forwardedFor(req));
  }

  exact(req: IncomingMessage): string {
    return this.#addresses.exact(req.socket.remoteAddress, forwardedFor(req));
  }
}

function forwardedFor({ headers }: IncomingMessage): string | undefined {
  const forwarded = headers['x-forwarded-for'];
  return Array.isArray(forwarded) ? forwarded.join(',') : forwarded;
}
