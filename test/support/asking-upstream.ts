import { randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import { ScriptedUpstream, type Seen, sendJson, startSse } from './scripted-upstream.ts';

type Json = { [key: string]: unknown };

const TOOLS = ['page', 'steps', 'plain'].map((name) => ({ name, inputSchema: { type: 'object' } }));
const ELICITATION = {
  mode: 'url',
  elicitationId: 'el-1',
  url: 'https://pages.example/el-1',
  message: 'Open it',
};

/**
 * A legacy HTTP server with sessions. `page` wants its user on a page before it runs for the first time in a session;
 * `steps` reports, logs, asks, reports and logs again. It asks for roots whenever it hears that they changed, and for a
 * ping as soon as somebody listens. A subscription to `x://slow` is granted only after `x://fast` has changed.
 */
export class AskingUpstream implements AsyncDisposable {
  /** Capabilities from each handshake, notifications and answers that clients sent, in order. */
  readonly capabilities: Json[] = [];
  readonly notifications: { session: string; method: string }[] = [];
  readonly answers: Json[] = [];
  #http!: ScriptedUpstream;
  readonly #opened = new Set<string>();
  readonly #listening = new Map<string, ServerResponse>();
  readonly #asked = new Map<unknown, () => void>();

  static async start(): Promise<AskingUpstream> {
    const upstream = new AskingUpstream();
    upstream.#http = await ScriptedUpstream.start((seen, response) => upstream.#serve(seen, response));
    return upstream;
  }

  get url(): string {
    return this.#http.origin;
  }

  /** Sessions that were asked for a ping and did not answer. */
  get silent(): string[] {
    const answered = new Set(this.answers.map(({ id }) => id));
    return [...this.#listening.keys()].filter((session) => !answered.has(`ping-${session}`));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#http[Symbol.asyncDispose]();
  }

  #serve(seen: Seen, response: ServerResponse): void {
    const session = String(seen.headers['mcp-session-id'] ?? '');
    if (seen.method === 'GET') this.#listen(session, response);
    else if (seen.method !== 'POST') response.writeHead(200).end();
    else this.#post(session, JSON.parse(seen.body) as Json, response);
  }

  #listen(session: string, response: ServerResponse): void {
    // Head and question in one piece: the question is there as soon as the stream is.
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    this.#listening.set(session, response);
    send(response, { id: `ping-${session}`, method: 'ping' });
  }

  #post(session: string, message: Json, response: ServerResponse): void {
    const { id, method } = message;
    if (id === undefined || method === undefined) {
      response.writeHead(202).end();
      if (method === undefined) this.answers.push(message);
      else this.notifications.push({ session, method: String(method) });
      this.#asked.get(id)?.();
      const stream = this.#listening.get(session);
      if (method === 'notifications/roots/list_changed' && stream) {
        send(stream, { id: `roots-${session}`, method: 'roots/list' });
      }
      return;
    }
    const params = (message.params ?? {}) as Json;
    const answer = (result: Json) => sendJson(response, { jsonrpc: '2.0', id, result });
    if (method === 'initialize') {
      this.capabilities.push(params.capabilities as Json);
      const capabilities = { tools: {}, logging: {}, resources: { subscribe: true } };
      const serverInfo = { name: 'asking', version: '1' };
      const result = { protocolVersion: '2025-11-25', capabilities, serverInfo };
      sendJson(response, { jsonrpc: '2.0', id, result }, 200, { 'mcp-session-id': randomUUID() });
    } else if (method === 'tools/list') answer({ tools: TOOLS });
    else if (method === 'resources/list') answer({ resources: [] });
    else if (method === 'resources/templates/list') answer({ resourceTemplates: [] });
    else if (method === 'resources/subscribe') {
      if (params.uri === 'x://slow') this.#touch(session, 'x://fast');
      setTimeout(() => answer({}), params.uri === 'x://slow' ? 200 : 0);
    } else if (method === 'tools/call') this.#call(session, id, params, response);
    else if (method === 'logging/setLevel' || method === 'resources/unsubscribe') answer({});
    else response.writeHead(400).end();
  }

  #touch(session: string, uri: string): void {
    const stream = this.#listening.get(session);
    if (stream) send(stream, { method: 'notifications/resources/updated', params: { uri } });
  }

  #call(session: string, id: unknown, { name, _meta }: Json, response: ServerResponse): void {
    const done = { content: [{ type: 'text', text: 'done' }] };
    if (name === 'page' && !this.#opened.has(session)) {
      this.#opened.add(session);
      const data = { elicitations: [ELICITATION] };
      sendJson(response, { jsonrpc: '2.0', id, error: { code: -32042, message: 'Log in first', data } });
    } else if (name === 'steps') {
      const progressToken = (_meta as Json | undefined)?.progressToken;
      const step = (progress: number) => {
        const params = { progressToken, progress };
        if (progressToken !== undefined) send(response, { method: 'notifications/progress', params });
        const data = { level: 'info', data: `step ${progress}` };
        send(response, { method: 'notifications/message', params: data });
      };
      startSse(response);
      step(1);
      const question = `question-${String(id)}-${session}`;
      this.#asked.set(question, () => {
        // Progress that goes back is none.
        step(1);
        step(2);
        send(response, { id, result: done });
        response.end();
      });
      const requestedSchema = { type: 'object', properties: { name: { type: 'string' } } };
      const params = { message: 'Who?', requestedSchema };
      send(response, { id: question, method: 'elicitation/create', params });
    } else sendJson(response, { jsonrpc: '2.0', id, result: done });
  }
}

function send(response: ServerResponse, message: Json): void {
  response.write(`event: message\ndata: ${JSON.stringify({ jsonrpc: '2.0', ...message })}\n\n`);
}
