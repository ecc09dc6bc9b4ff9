import type { IncomingMessage } from 'node:http';
import type { CookieOptions } from 'hono/utils/cookie';

const SESSION_SECONDS = 7 * 24 * 3_600;
const KNOWN_SECONDS = 400 * 24 * 3_600;

/**
 * The cookies of our pages. Over https their names begin with `__Host-`, so that no neighbouring host can set them; on
 * loopback, where there is no https, they are plain.
 */
export class BrowserCookies {
  readonly #secure: boolean;

  constructor(publicUrl: string | undefined) {
    this.#secure = publicUrl?.startsWith('https:') ?? false;
  }

  /** Who is signed in. */
  get session(): string {
    return this.#named('session');
  }

  /** Somebody who is not signed in, from one page to the next. */
  get visit(): string {
    return this.#named('visit');
  }

  /** Whoever signed in here before. */
  get known(): string {
    return this.#named('known');
  }

  /** A sign-in that is under way at an external provider. */
  get provider(): string {
    return this.#named('provider');
  }

  options(of: 'session' | 'visit' | 'known' | 'provider'): CookieOptions {
    const more: CookieOptions =
      of === 'session'
        ? { maxAge: SESSION_SECONDS }
        : of === 'known'
          ? { maxAge: KNOWN_SECONDS, sameSite: 'Strict' }
          : of === 'provider'
            ? { maxAge: 600 }
            : {};
    return { path: '/', httpOnly: true, secure: this.#secure, sameSite: 'Lax', ...more };
  }

  /** What the cookie of the session holds in a bare request; of two of that name neither counts. */
  sessionOf(req: Pick<IncomingMessage, 'headers'>): string | undefined {
    const found = (req.headers.cookie ?? '')
      .split(';')
      .map((pair) => pair.trim())
      .filter((pair) => pair.startsWith(`${this.session}=`));
    return found.length === 1 ? found[0]!.slice(this.session.length + 1) : undefined;
  }

  #named(name: string): string {
    return `${this.#secure ? '__Host-' : ''}castellan-${name}`;
  }
}
