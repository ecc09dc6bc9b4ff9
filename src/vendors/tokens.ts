import { ok, type Result, refused } from '../base/result.ts';

/** What a token endpoint answered (RFC 6749 section 5.1). */
export type Tokens = {
  access: string;
  /** Undefined: the answer has none, and one that is there stays. */
  refresh: string | undefined;
  issuedAt: number;
  /** Undefined: no known expiry. */
  expiresAt: number | undefined;
  /** Undefined: those that were asked for. */
  scope: string | undefined;
};

const MAX_TOKEN_LENGTH = 16 * 1024;
const TOKEN = /^[\x21-\x7e]+$/;
/** How Slack calls the bearer token of a user is the second. */
const BEARERS = new Set(['bearer', 'user']);
/** Beyond this an expiry says nothing. */
const MAX_LIFE_MS = 10 * 365 * 86_400_000;
const MARGIN_MS = 60_000;

/** Refused with what is wrong, never with what was there. */
export function tokensOf(body: unknown, now: number): Result<Tokens, string> {
  if (typeof body !== 'object' || body === null) return refused('the answer is no JSON object');
  const { access_token, refresh_token, token_type, expires_in, scope } = body as Record<string, unknown>;
  if (!isToken(access_token)) return refused('the answer has no access token');
  if (token_type !== undefined && !BEARERS.has(String(token_type).toLowerCase()))
    return refused('the token is of another type than Bearer');
  const lifeMs = lifeOf(expires_in);
  return ok({
    access: access_token,
    refresh: isToken(refresh_token) ? refresh_token : undefined,
    issuedAt: now,
    expiresAt: lifeMs === undefined ? undefined : now + lifeMs,
    scope: typeof scope === 'string' ? scope.slice(0, 4096) : undefined,
  });
}

function isToken(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_TOKEN_LENGTH && TOKEN.test(value);
}

/** Some send the seconds as text. What is not above zero says nothing. */
function lifeOf(expiresIn: unknown): number | undefined {
  const seconds = typeof expiresIn === 'string' && expiresIn.trim() !== '' ? Number(expiresIn) : expiresIn;
  if (typeof seconds !== 'number' || Number.isNaN(seconds) || seconds <= 0) return undefined;
  return Math.min(Math.floor(seconds * 1_000), MAX_LIFE_MS);
}

type Life = Pick<Tokens, 'issuedAt' | 'expiresAt'>;

/** Less than a minute of its life remains, or less than a tenth of a short one. */
export function isDue({ issuedAt, expiresAt }: Life, now: number): boolean {
  if (expiresAt === undefined) return false;
  return now >= expiresAt - Math.min(MARGIN_MS, (expiresAt - issuedAt) / 10);
}

export function isOver({ expiresAt }: Life, now: number): boolean {
  return expiresAt !== undefined && now >= expiresAt;
}
