import type { IncomingMessage } from 'node:http';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import { KeyedRate } from '../../limits/keyed-rate.ts';
import { type DynamicClients, registrationAnswer } from '../../oauth/dynamic-clients.ts';
import type { RequestAddresses } from '../request-addresses.ts';

/** From one network. */
const REGISTRATIONS = { calls: 30, perMs: 600_000 };
const MAX_METADATA_BYTES = 32 * 1024;

export type RegistrationDeps = {
  clients: DynamicClients;
  addresses: RequestAddresses;
  logger: Logger;
};

/** `POST /register`: dynamic client registration (RFC 7591). Host and Origin are the router's. */
export function registrationRoute({ clients, addresses, logger }: RegistrationDeps): Hono {
  const app = new Hono();
  const rate = new KeyedRate(REGISTRATIONS, () => performance.now());
  app.use('/register', async (c, next) => {
    c.header('cache-control', 'no-store');
    c.header('x-content-type-options', 'nosniff');
    await next();
  });
  const limit = bodyLimit({
    maxSize: MAX_METADATA_BYTES,
    onError: (c) => refuse(c, 'invalid_client_metadata', 'the body is larger than 32 KiB'),
  });
  app.post('/register', limit, async (c) => {
    const { incoming } = c.env as { incoming: IncomingMessage };
    const wait = rate.take(addresses.network(incoming));
    if (wait !== undefined) return tooMany(c, Math.ceil(wait / 1000), 'too many registrations from here');
    const type = (c.req.header('content-type') ?? '').split(';')[0]?.trim().toLowerCase();
    if (type !== 'application/json')
      return refuse(c, 'invalid_client_metadata', 'send Content-Type: application/json');
    const registered = await clients.register(await jsonOf(c), addresses.exact(incoming));
    if (registered.ok) return c.json(registrationAnswer(registered.value), 201);
    if (registered.error === 'full') return tooMany(c, 3600, 'too many clients that nobody uses yet');
    return refuse(c, registered.error.error, registered.error.description);
  });
  app.all('/register', (c) => {
    c.header('allow', 'POST');
    return c.json({ error: 'invalid_request', error_description: 'use POST' }, 405);
  });
  app.onError((error, c) => {
    logger.error({ error: messageOf(error) }, 'a registration failed');
    return c.json({ error: 'server_error', error_description: 'the server failed; its log says why' }, 500);
  });
  return app;
}

/** Undefined for a body that is no JSON. */
async function jsonOf(c: Context): Promise<unknown> {
  const text = await c.req.text();
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function refuse(c: Context, error: string, description: string): Response {
  return c.json({ error, error_description: description }, 400);
}

function tooMany(c: Context, seconds: number, description: string): Response {
  c.header('retry-after', String(seconds));
  return c.json({ error: 'temporarily_unavailable', error_description: description }, 429);
}
