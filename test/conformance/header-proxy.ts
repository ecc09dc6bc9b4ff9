import { createServer, request as sendRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream';

export type HeaderProxy = AsyncDisposable & {
  url: string;
  /** From now on requests go to `endpoint` with that token. */
  forward(endpoint: string, token: string): void;
};

/** Adds the bearer token that the suite cannot send and changes nothing else: Host and Origin arrive as they are. */
export async function startHeaderProxy(): Promise<HeaderProxy> {
  let target: { url: URL; token: string } | undefined;
  const server = createServer((incoming, outgoing) => {
    if (!target) return void outgoing.writeHead(503).end();
    const headers = { ...incoming.headers, authorization: `Bearer ${target.token}` };
    const options = { method: incoming.method, headers, agent: false } as const;
    const upstream = sendRequest(target.url, options, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      outgoing.flushHeaders();
      pipeline(answer, outgoing, () => undefined);
    });
    upstream.on('error', () => outgoing.destroy());
    outgoing.on('close', () => upstream.destroy());
    pipeline(incoming, upstream, () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://localhost:${port}/mcp`,
    forward: (endpoint, token) => {
      target = { url: new URL(endpoint), token };
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
