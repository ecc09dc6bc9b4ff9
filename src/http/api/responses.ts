import type { Context } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { createMiddleware } from 'hono/factory';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { messageOf, Refusal, type RefusalKind } from '../../base/errors.ts';
import type { Logger } from '../../base/logger.ts';
import type { AuthenticatedCaller } from '../../identity/caller.ts';

export type ApiEnv = { Variables: { caller: AuthenticatedCaller } };
export type ApiContext = Context<ApiEnv>;

const STATUS: Readonly<Record<RefusalKind, ContentfulStatusCode>> = {
  invalid: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  unavailable: 503,
};

const MAX_BODY_BYTES = 4 * 1024 * 1024;

/** The body of every refusal: `{error: {code, message}}`, code in upper case. */
export function refuse(c: Context, status: ContentfulStatusCode, code: string, message: string): Response {
  if (status === 503) c.header('retry-after', '2');
  return c.json({ error: { code, message } }, status);
}

/** Turns whatever a route throws into its answer. What is no refusal is logged and says nothing outside. */
export function answerError(error: unknown, c: Context, logger: Logger): Response {
  if (error instanceof Refusal) {
    if (error.detail) logger.info({ detail: error.detail, path: c.req.path }, error.message);
    return refuse(c, STATUS[error.kind], error.kind.toUpperCase(), error.message);
  }
  logger.error({ error, path: c.req.path, method: c.req.method }, `API: ${messageOf(error)}`);
  return refuse(c, 500, 'INTERNAL', 'the server failed; its log says why');
}

/** Answers here are about secrets and rights, and are never kept. */
export const neverStored = createMiddleware(async (c, next) => {
  await next();
  c.header('cache-control', 'no-store');
  c.header('x-content-type-options', 'nosniff');
});

export const boundedBody = bodyLimit({
  maxSize: MAX_BODY_BYTES,
  onError: (c) => refuse(c, 413, 'TOO_LARGE', 'the body is larger than 4 MiB'),
});

/** The JSON object in the body. @throws Refusal `invalid` */
export async function jsonObject(c: Context): Promise<Record<string, unknown>> {
  const type = (c.req.header('content-type') ?? '').split(';')[0]?.trim().toLowerCase();
  if (type !== 'application/json') {
    throw new Refusal('invalid', 'the body must be JSON: send Content-Type: application/json');
  }
  let value: unknown;
  try {
    value = JSON.parse(await c.req.text());
  } catch (error) {
    // The limit on the body reports itself through the stream.
    if (!(error instanceof SyntaxError)) throw error;
    // The parser's own message quotes the body, which may hold a secret.
    const at = /at position \d+/.exec(error.message)?.[0];
    throw new Refusal('invalid', `the body is no valid JSON${at ? `, ${at}` : ''}: correct it`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Refusal('invalid', 'the body must be a JSON object');
  }
  return value as Record<string, unknown>;
}

/** A query parameter that is `true`, `false` or absent. @throws Refusal `invalid` */
export function flag(c: Context, name: string): boolean {
  const value = c.req.query(name);
  if (value === undefined || value === 'false') return false;
  if (value === 'true' || value === '') return true;
  throw new Refusal('invalid', `${name}: must be true or false`);
}
