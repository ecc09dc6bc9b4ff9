import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

export type Seen = { method: string; url: string; headers: IncomingMessage['headers']; body: string };
/** Answers one request; `seen.body` is complete. */
export type Script = (seen: Seen, response: ServerResponse) => void | Promise<void>;

/** An upstream on a loopback port that does what a test says, and keeps what it was asked. */
export class ScriptedUpstream implements AsyncDisposable {
  readonly requests: Seen[] = [];
  readonly sockets = new Set<Socket>();
  /** Sockets accepted over time. */
  connections = 0;
  script: Script;
  #server = createServer((request, response) => void this.#serve(request, response));

  private constructor(script: Script) {
    this.script = script;
    this.#server.on('connection', (socket) => {
      this.connections += 1;
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
  }

  /** `port` 0: any free one. */
  static async start(script: Script, port = 0): Promise<ScriptedUpstream> {
    const upstream = new ScriptedUpstream(script);
    await new Promise<void>((resolve) => upstream.#server.listen(port, '127.0.0.1', resolve));
    return upstream;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get url(): string {
    return `${this.origin}/mcp?key=1`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const seen = { method: request.method ?? '', url: request.url ?? '', headers: request.headers, body };
    this.requests.push(seen);
    await this.script(seen, response);
  }
}

/** The id of a request as it was posted; undefined for a notification and a request without a body. */
export function idOf(seen: Seen): unknown {
  if (seen.body === '') return undefined;
  return (JSON.parse(seen.body) as { id?: unknown }).id;
}

export function sendJson(
  response: ServerResponse,
  value: unknown,
  status = 200,
  headers: Record<string, string> = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(typeof value === 'string' ? value : JSON.stringify(value));
}

export function startSse(response: ServerResponse, headers: Record<string, string> = {}): void {
  response.writeHead(200, { 'content-type': 'text/event-stream', ...headers });
  response.flushHeaders();
}
