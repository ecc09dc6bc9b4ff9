import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { localhostCertificate, localhostKey } from './localhost-certificate.ts';

/** A site on https://localhost that answers as a test says, and counts what it is asked. */
export class SecureUpstream implements AsyncDisposable {
  readonly paths: string[] = [];
  /** Requests that are being answered, and how many were at once. */
  atOnce = 0;
  mostAtOnce = 0;
  answer: (request: IncomingMessage, response: ServerResponse) => void;
  readonly #server = createServer({ cert: localhostCertificate, key: localhostKey }, (request, response) => {
    this.paths.push(request.url ?? '');
    this.atOnce += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.atOnce);
    response.on('close', () => {
      this.atOnce -= 1;
    });
    this.answer(request, response);
  });

  private constructor(answer: SecureUpstream['answer']) {
    this.answer = answer;
  }

  static async start(answer: SecureUpstream['answer']): Promise<SecureUpstream> {
    const upstream = new SecureUpstream(answer);
    await new Promise<void>((resolve) => upstream.#server.listen(0, '127.0.0.1', resolve));
    return upstream;
  }

  get origin(): string {
    return `https://localhost:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** A document that makes its address a client id, and what it says besides. */
export function clientDocument(clientId: string, more: object = {}): object {
  return {
    client_id: clientId,
    client_name: 'Tried client',
    redirect_uris: ['http://127.0.0.1/callback'],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
    ...more,
  };
}
