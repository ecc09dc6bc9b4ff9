/**
 * The pass-through floor: what Node can do at all between a client and a server. It parses the request, checks headers
 * against body, rewrites the tool's name and forwards the answer's bytes. No authentication, no policy, no sessions of
 * its own, no limits. `node server.ts '{"http":{"/path":"url"},"stdio":{"/path":["script","arg"]}}'`
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Message } from '../era.ts';
import { mismatchOf, stripServerName } from './envelope.ts';
import type { Forward } from './forward.ts';
import { createHttpForward } from './http-forward.ts';
import { createStdioForward } from './stdio-forward.ts';

export type FloorRoutes = { http: Record<string, string>; stdio: Record<string, string[]> };

function accept(forward: Forward, request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const bytes = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
    const message = JSON.parse(bytes.toString()) as Message;
    const mismatch = mismatchOf(request.headers, message);
    if (mismatch !== undefined) {
      response.writeHead(400, { 'content-type': 'text/plain' }).end(mismatch);
      return;
    }
    const renamed = stripServerName(message);
    forward(request.headers, message, renamed ? JSON.stringify(message) : bytes, response);
  });
}

function start(routes: FloorRoutes): void {
  const forwards = new Map<string, Forward>();
  for (const [path, url] of Object.entries(routes.http)) forwards.set(path, createHttpForward(url));
  for (const [path, args] of Object.entries(routes.stdio)) forwards.set(path, createStdioForward(args));
  const server = createServer((request, response) => {
    const forward = forwards.get(request.url ?? '');
    if (request.method === 'POST' && forward !== undefined) accept(forward, request, response);
    else response.writeHead(forward === undefined ? 404 : 405).end();
  });
  server.keepAliveTimeout = 60_000;
  server.listen(0, '127.0.0.1', 1024, () => {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    process.stdout.write(`${JSON.stringify({ url })}\n`);
  });
}

if (import.meta.main) start(JSON.parse(process.argv[2] ?? '') as FloorRoutes);
