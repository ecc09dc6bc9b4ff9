import { Refusal } from '../base/errors.ts';

const UNITS: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
};
/** Ten years; longer is `never`, said as such. */
const MAX_TTL_MS = 3_653 * 86_400_000;
const ISO_DATE = /^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})?)?$/;

/**
 * When something with this time to live ends, in milliseconds since 1970; null for `never`. `text` is a duration
 * (`30d`, `12h`, `90m`), `never`, or an ISO 8601 date (its start, UTC unless it says otherwise).
 * @param field names the place in messages
 * @throws Refusal `invalid`
 */
export function expiryOf(text: string, now: number, field = 'ttl'): number | null {
  const written = text.trim();
  if (written === 'never') return null;
  const expiry = ISO_DATE.test(written) ? dateOf(written) : now + durationOf(written);
  if (Number.isNaN(expiry)) {
    throw new Refusal(
      'invalid',
      `${field}: ${shown(text)} is no time to live; write 30d, 12h, never or a date like 2027-01-31`,
    );
  }
  if (expiry <= now) throw new Refusal('invalid', `${field}: ${shown(text)} is not in the future`);
  if (expiry - now > MAX_TTL_MS) {
    throw new Refusal(
      'invalid',
      `${field}: ${shown(text)} is more than ten years away; write never for no expiry`,
    );
  }
  return expiry;
}

function durationOf(written: string): number {
  const [, count, unit] = /^(\d{1,9})([smhdw])$/.exec(written) ?? [];
  return count === undefined || unit === undefined ? Number.NaN : Number(count) * UNITS[unit]!;
}

function dateOf(written: string): number {
  const [day, time] = written.split(/[T ]/) as [string, string?];
  const zoned =
    time === undefined
      ? `${day}T00:00:00Z`
      : `${day}T${/Z$|[+-]\d{2}:\d{2}$/.test(time) ? time : `${time}Z`}`;
  const midnight = Date.parse(`${day}T00:00:00Z`);
  // The parser rolls 31 February over into March; a typo must not become another day.
  if (Number.isNaN(midnight) || !new Date(midnight).toISOString().startsWith(day)) return Number.NaN;
  return Date.parse(zoned);
}

function shown(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text);
}
