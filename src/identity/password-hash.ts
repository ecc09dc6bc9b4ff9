import { type Argon2Parameters, argon2, randomBytes, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { Refusal } from '../base/errors.ts';

const derive = promisify(argon2);

/** KiB, rounds and lanes: about a tenth of a second of one core (RFC 9106, OWASP). */
const COST = { memory: 64 * 1024, passes: 2, parallelism: 1 };
const TAG_BYTES = 32;
const SALT_BYTES = 16;
const PHC = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/;

const MIN_LENGTH = 12;
export const MAX_LENGTH = 256;
const MIN_DIFFERENT = 5;
/** Each takes the memory above. */
const MAX_RUNNING = 2;
const MAX_WAITING = 64;

/** Why nobody should have this password; undefined when somebody may. */
export function passwordFault(password: string, email: string): string | undefined {
  const length = [...password].length;
  if (length < MIN_LENGTH) return `is too short: use at least ${MIN_LENGTH} characters, such as four words`;
  if (length > MAX_LENGTH) return `is too long: use at most ${MAX_LENGTH} characters`;
  if (new Set(password).size < MIN_DIFFERENT)
    return `repeats few characters: use at least ${MIN_DIFFERENT} different ones`;
  if (email.includes('@') && password.toLowerCase().includes(email))
    return 'contains your e-mail address: choose one that does not';
  return undefined;
}

/**
 * Hashes passwords with Argon2id, a few at a time. `pepper` goes into every hash and lies outside the database, so that
 * hashes from a stolen copy cannot be tried.
 */
export class PasswordHasher {
  readonly #pepper: Buffer;
  #running = 0;
  readonly #waiting: (() => void)[] = [];
  #nobody: Promise<string> | undefined;

  constructor(pepper: string) {
    this.#pepper = Buffer.from(pepper);
  }

  /** In the PHC string format. @throws Refusal `unavailable` when too many wait */
  async hash(password: string): Promise<string> {
    const nonce = randomBytes(SALT_BYTES);
    const tag = await this.#derive({ ...COST, nonce, message: normal(password), tagLength: TAG_BYTES });
    const { memory, passes, parallelism } = COST;
    return `$argon2id$v=19$m=${memory},t=${passes},p=${parallelism}$${bare(nonce)}$${bare(tag)}`;
  }

  /** Whether it is the password of this hash. Without a hash it takes as long and is not. */
  async matches(password: string, kept: string | undefined): Promise<boolean> {
    // Whoever has no password must not be told from whoever has one.
    this.#nobody ??= this.hash(randomBytes(SALT_BYTES).toString('hex'));
    const [, memory, passes, parallelism, salt, tag] = PHC.exec(kept ?? (await this.#nobody)) ?? [];
    if (salt === undefined || tag === undefined) throw new Error('a password hash is damaged');
    const expected = Buffer.from(tag, 'base64');
    const found = await this.#derive({
      memory: Number(memory),
      passes: Number(passes),
      parallelism: Number(parallelism),
      nonce: Buffer.from(salt, 'base64'),
      message: normal(password),
      tagLength: expected.length,
    });
    return timingSafeEqual(found, expected) && kept !== undefined;
  }

  async #derive(parameters: Argon2Parameters): Promise<Buffer> {
    if (this.#running >= MAX_RUNNING) {
      if (this.#waiting.length >= MAX_WAITING)
        throw new Refusal('unavailable', 'too many people sign in at once; try again in a moment');
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#running += 1;
    try {
      return await derive('argon2id', { ...parameters, secret: this.#pepper });
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running -= 1;
    }
  }
}

/** Keyboards differ in how they write the same letters. */
const normal = (password: string) => Buffer.from(password.normalize('NFKC'));
const bare = (bytes: Buffer) => bytes.toString('base64').replace(/=+$/, '');
