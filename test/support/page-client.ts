import { once } from 'node:events';
import { type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';

export type Answered = { status: number; headers: IncomingHttpHeaders; body: string };

/** A browser that fills in forms, without one: it keeps cookies and follows nothing by itself. */
export class PageClient {
  readonly cookies = new Map<string, string>();
  readonly #url: string;
  /** Where it comes from; throttles count by it. */
  readonly #address: string;
  #page = '';

  constructor(url: string, address = '127.0.0.1') {
    this.#url = url;
    this.#address = address;
  }

  async get(path: string, headers: Record<string, string> = {}): Promise<Answered> {
    const answered = await this.send('GET', path, undefined, headers);
    this.#page = answered.body;
    return answered;
  }

  /** Sends fields with the hidden ones of the form on the page that was got last. */
  async post(
    path: string,
    fields: Record<string, string>,
    headers: Record<string, string> = {},
  ): Promise<Answered> {
    const hidden = [...this.#page.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)">/g)];
    const form = new URLSearchParams();
    for (const [, name = '', value = ''] of hidden) form.set(name, unescaped(value));
    for (const [name, value] of Object.entries(fields)) form.set(name, value);
    const answered = await this.send('POST', path, form.toString(), {
      'content-type': 'application/x-www-form-urlencoded',
      origin: 'null',
      'sec-fetch-site': 'same-origin',
      'sec-fetch-mode': 'navigate',
      ...headers,
    });
    if (answered.body !== '') this.#page = answered.body;
    return answered;
  }

  async send(
    method: string,
    path: string,
    body: string | undefined,
    headers: Record<string, string> = {},
  ): Promise<Answered> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const sent = request(new URL(path, this.#url), {
      method,
      headers: { ...(cookie && { cookie }), 'user-agent': 'test', ...headers },
      localAddress: this.#address,
    });
    sent.end(body);
    const [answer] = (await once(sent, 'response')) as [IncomingMessage];
    for (const line of answer.headers['set-cookie'] ?? []) this.#keep(line);
    return { status: answer.statusCode ?? 0, headers: answer.headers, body: await text(answer) };
  }

  async signIn(email: string, password: string): Promise<Answered> {
    await this.get('/sign-in');
    return this.post('/sign-in', { email, password });
  }

  #keep(line: string): void {
    const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
    if (/max-age=0/i.test(line)) this.cookies.delete(name);
    else this.cookies.set(name, value);
  }
}

function unescaped(text: string): string {
  return text
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&amp;', '&');
}
