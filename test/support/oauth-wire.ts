import { createHash, randomBytes } from 'node:crypto';

import type { Answer } from './oauth-rig.ts';

export async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  const body = text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : { text };
  return { status: response.status, headers: response.headers, body };
}

export const verifier = randomBytes(48).toString('base64url');
const challenge = createHash('sha256').update(verifier).digest('base64url');
export const pkce = { response_type: 'code', code_challenge: challenge, code_challenge_method: 'S256' };

/** The OAuth endpoints of a server, asked without a library: what is sent is what a test says. */
export class OauthWire {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  async token(form: Record<string, string>, headers: Record<string, string> = {}): Promise<Answer> {
    const body = new URLSearchParams(form);
    return answerOf(await fetch(`${this.#url}/token`, { method: 'POST', body, headers }));
  }

  authorize(query: Record<string, string>, headers: Record<string, string> = {}): Promise<Response> {
    const address = `${this.#url}/authorize?${new URLSearchParams({ ...pkce, ...query })}`;
    return fetch(address, { redirect: 'manual', headers });
  }

  /** Calls a tool of the project `demo`. */
  async call(bearer: string, name: string, args: object = {}): Promise<Answer> {
    const request = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: args } };
    const response = await fetch(`${this.#url}/projects/demo/mcp`, {
      method: 'POST',
      headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
      body: JSON.stringify(request),
    });
    return answerOf(response);
  }
}
