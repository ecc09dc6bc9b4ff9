import { once } from 'node:events';
import type { Server } from 'node:http';
import { Refusal } from '../base/errors.ts';

/** Begins to listen. @throws Refusal `conflict` when the port is taken, `invalid` naming why else it cannot */
export async function listen(server: Server, { host, port }: { host: string; port: number }): Promise<void> {
  server.listen({ host, port });
  try {
    await once(server, 'listening');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') {
      throw new Refusal(
        'conflict',
        `port ${port} on ${host} is in use: choose another with --port or CASTELLAN_PORT`,
      );
    }
    throw new Refusal('invalid', `cannot listen on ${host}:${port}: ${(error as Error).message}`);
  }
}

export function isLoopbackName(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\./.test(host);
}

export function hostInUrl(host: string): string {
  if (host === '0.0.0.0' || host === '::') return 'localhost';
  return host.includes(':') ? `[${host}]` : host;
}
