import assert from 'node:assert/strict';

export type Message = {
  id?: unknown;
  method?: string;
  params?: Record<string, unknown>;
  result?: Record<string, unknown>;
  error?: { code: number; message: string; data?: unknown };
};
export type ClientEra = 'legacy' | 'modern';

export const META = 'io.modelcontextprotocol/';
export const WAIT_MS = 15_000;

/** An open event stream and all that came on it. */
export class Heard implements Disposable {
  readonly messages: Message[] = [];
  private readonly controller: AbortController;
  private wake: (() => void)[] = [];

  constructor(response: Response, controller: AbortController) {
    this.controller = controller;
    void this.read(response).catch(() => {});
  }

  async until(what: string, found: (message: Message) => boolean): Promise<Message> {
    const deadline = Date.now() + WAIT_MS;
    for (;;) {
      const message = this.messages.find(found);
      if (message) return message;
      if (Date.now() >= deadline) assert.fail(`no ${what} among ${JSON.stringify(this.messages)}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, deadline - Date.now());
        this.wake.push(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  of(method: string): Message[] {
    return this.messages.filter((message) => message.method === method);
  }

  [Symbol.dispose](): void {
    this.controller.abort();
  }

  private async read(response: Response): Promise<void> {
    let rest = '';
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        if (line.startsWith('data: {')) this.messages.push(JSON.parse(line.slice(6)));
      }
      for (const wake of this.wake.splice(0)) wake();
    }
  }
}

/** A client of one era, on the wire. */
export class Wire {
  readonly era: ClientEra;
  session: string | undefined;
  private readonly url: string;
  private readonly token: string;
  private nextId = 1;

  constructor(era: ClientEra, url: string, token: string) {
    this.era = era;
    this.url = url;
    this.token = token;
  }

  async open({ protocolVersion = '2025-11-25', capabilities = {} } = {}): Promise<Message> {
    if (this.era === 'modern') return this.ask('server/discover', {});
    const clientInfo = { name: 'test', version: '1' };
    const params = { protocolVersion, capabilities, clientInfo };
    const response = await this.post('initialize', params);
    this.session = response.headers.get('mcp-session-id')!;
    return messagesOf(await response.text()).at(-1)!;
  }

  /** The answer, and what came before it on its stream. */
  async exchange(method: string, params: object, meta: object = {}): Promise<Message[]> {
    return messagesOf(await (await this.post(method, params, meta)).text());
  }

  async ask(method: string, params: object, meta: object = {}): Promise<Message> {
    return (await this.exchange(method, params, meta)).at(-1)!;
  }

  /** Sends a request whose answer nobody reads; what it gives back leaves it. */
  start(method: string, params: object, meta: object = {}): () => void {
    const controller = new AbortController();
    this.post(method, params, meta, controller).then(
      (response) => response.text().catch(() => {}),
      () => {},
    );
    return () => controller.abort();
  }

  /** Cancels the last request as a legacy client does. */
  async cancelLast(): Promise<void> {
    const headers = { ...this.headers(), 'content-type': 'application/json', accept: 'application/json' };
    const params = { requestId: this.nextId - 1 };
    const body = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params });
    assert.equal((await fetch(this.url, { method: 'POST', headers, body })).status, 202);
  }

  callTool(name: string, args: object = {}, meta: object = {}): Promise<Message[]> {
    return this.exchange('tools/call', { name, arguments: args }, meta);
  }

  async listen(notifications: object, meta: object = {}): Promise<Heard> {
    const controller = new AbortController();
    const response =
      this.era === 'modern'
        ? await this.post('subscriptions/listen', { notifications }, meta, controller)
        : await fetch(this.url, {
            headers: { ...this.headers(), accept: 'text/event-stream' },
            signal: controller.signal,
          });
    assert.equal(response.status, 200);
    return new Heard(response, controller);
  }

  async end(): Promise<void> {
    if (this.session) await fetch(this.url, { method: 'DELETE', headers: this.headers() });
  }

  private headers(): Record<string, string> {
    const headers: Record<string, string> = { authorization: `Bearer ${this.token}` };
    if (this.session) headers['mcp-session-id'] = this.session;
    return headers;
  }

  private post(method: string, params: object, meta: object = {}, controller?: AbortController) {
    const id = this.nextId;
    this.nextId += 1;
    const headers: Record<string, string> = {
      ...this.headers(),
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    };
    let sent: object = params;
    if (this.era === 'modern') {
      headers['mcp-protocol-version'] = '2026-07-28';
      headers['mcp-method'] = method;
      const name = 'name' in params ? params.name : 'taskId' in params ? params.taskId : undefined;
      if (name !== undefined) headers['mcp-name'] = String(name);
      const own = { [`${META}protocolVersion`]: '2026-07-28', [`${META}clientCapabilities`]: {} };
      sent = { ...params, _meta: { ...own, ...meta } };
    }
    const body = JSON.stringify({ jsonrpc: '2.0', id, method, params: sent });
    return fetch(this.url, { method: 'POST', headers, body, signal: controller?.signal });
  }
}

function messagesOf(text: string): Message[] {
  if (text.startsWith('{')) return [JSON.parse(text)];
  const lines = text.split('\n').filter((line) => line.startsWith('data: {'));
  return lines.map((line) => JSON.parse(line.slice(6)));
}
