/**
 * The bare upstream: node:http, no framework, no checks. One listener per origin that the benchmark needs, because a
 * gateway keeps connections and era verdicts per origin. Prints one JSON line with the URLs when all listen.
 */
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ERAS, type Era, type Message } from '../era.ts';
import { createAnswers } from './answers.ts';

/** URLs by role: one echo server, ten servers of 20 tools each, and one server of 200 tools, per era. */
export type UpstreamUrls = Record<Era, { call: string; lists: string[]; bigList: string }>;

export const LIST_SERVERS = 10;
export const TOOLS_PER_LIST_SERVER = 20;

function startServer(era: Era, toolCount: number): Promise<string> {
  const answerTo = createAnswers(era, toolCount);
  const sessions = { issued: 0 };
  const server = createServer((request, response) => {
    if (request.method !== 'POST') {
      response.writeHead(request.method === 'DELETE' && era === 'legacy' ? 200 : 405).end();
      return;
    }
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
      respond(JSON.parse(body.toString()) as Message, response);
    });
  });
  const respond = (message: Message, response: ServerResponse) => {
    if (message.id === undefined) {
      response.writeHead(202).end();
      return;
    }
    const answer = answerTo(message);
    const text = JSON.stringify(answer.message);
    const headers: Record<string, string | number> = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
    };
    if (message.method === 'initialize' && answer.status === 200) {
      sessions.issued += 1;
      headers['mcp-session-id'] = `bench-${sessions.issued}`;
    }
    response.writeHead(answer.status, headers).end(text);
  };
  return listen(server);
}

function listen(server: Server): Promise<string> {
  server.keepAliveTimeout = 60_000;
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', 1024, () => {
      resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`);
    });
  });
}

async function startEra(era: Era): Promise<UpstreamUrls[Era]> {
  const lists = Array.from({ length: LIST_SERVERS }, () => startServer(era, TOOLS_PER_LIST_SERVER));
  return {
    call: await startServer(era, 1),
    lists: await Promise.all(lists),
    bigList: await startServer(era, LIST_SERVERS * TOOLS_PER_LIST_SERVER),
  };
}

if (import.meta.main) {
  const [legacy, modern] = await Promise.all(ERAS.map(startEra));
  process.stdout.write(`${JSON.stringify({ legacy, modern })}\n`);
}
