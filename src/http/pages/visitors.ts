import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Context } from 'hono';
import { deleteCookie, getCookie, setCookie } from 'hono/cookie';
import { createMiddleware } from 'hono/factory';
import type { BrowserSession, BrowserSessions, ProofMethod } from '../../identity/browser-sessions.ts';
import type { UserEntry } from '../../resources/spec.ts';
import type { RequestAddresses } from '../request-addresses.ts';
import type { BrowserCookies } from './browser-cookies.ts';

export type PageEnv = {
  Variables: {
    session: BrowserSession | undefined;
    /** Of somebody who is not signed in. */
    visit: string | undefined;
    /** What came with a POST. */
    form: URLSearchParams | undefined;
  };
};
export type PageContext = Context<PageEnv>;

/** Sensitive acts ask for a proof of the person that is not older than this. */
const FRESH_MS = 5 * 60_000;
/** Of the field that every form carries. */
export const FORM_FIELD = 'form';
const VISIT = /^[A-Za-z0-9_-]{22}$/;

/** Who is at the other end of a page: finds, opens and ends the sessions of browsers by their cookies. */
export class Visitors {
  readonly #sessions: BrowserSessions;
  readonly #cookies: BrowserCookies;
  readonly #addresses: RequestAddresses;
  readonly #now: () => number;

  constructor(options: { sessions: BrowserSessions; cookies: BrowserCookies; addresses: RequestAddresses }) {
    this.#sessions = options.sessions;
    this.#cookies = options.cookies;
    this.#addresses = options.addresses;
    this.#now = Date.now;
  }

  /** Finds whoever is signed in. A person whose rights changed gets a new cookie. */
  known() {
    return createMiddleware<PageEnv>(async (c, next) => {
      const cookie = getCookie(c, this.#cookies.session);
      let session = cookie === undefined ? undefined : await this.#sessions.find(cookie);
      if (session?.outdated) {
        const renewed = await this.#sessions.rotate(session);
        if (renewed) {
          this.#setSession(c, renewed.cookie);
          // The authorization server reads the request itself.
          const { headers } = requestOf(c);
          headers.cookie = headers.cookie?.replace(cookie ?? '', renewed.cookie);
        }
        session = renewed?.session;
      }
      c.set('session', session);
      c.set('visit', VISIT.exec(getCookie(c, this.#cookies.visit) ?? '')?.[0]);
      await next();
    });
  }

  /** What a form on the page that is being made has to carry. */
  formToken(c: PageContext): string {
    const { session, visit = randomBytes(16).toString('base64url') } = c.var;
    if (session) return this.#sessions.formToken(session.id);
    if (c.var.visit === undefined) {
      c.set('visit', visit);
      setCookie(c, this.#cookies.visit, visit, this.#cookies.options('visit'));
    }
    return this.#sessions.formToken(visit);
  }

  /** Whether a form that came back is from a page that this browser was shown. */
  isOwnForm(c: PageContext, token: string): boolean {
    const of = c.var.session?.id ?? c.var.visit;
    if (of === undefined) return false;
    const [given, expected] = [Buffer.from(token), Buffer.from(this.#sessions.formToken(of))];
    return given.length === expected.length && timingSafeEqual(given, expected);
  }

  /** The person was proven: the session they have becomes that fresh, anybody else's in this browser ends. */
  async signIn(
    c: PageContext,
    user: UserEntry,
    method: ProofMethod,
    at = this.#now(),
  ): Promise<BrowserSession> {
    const { session } = c.var;
    const proof = { method, at };
    const same = session?.user.uid === user.uid ? await this.#sessions.rotate(session, proof) : undefined;
    if (session && !same) await this.#sessions.end(session.user, session.id);
    const agent = c.req.header('user-agent') ?? '';
    const opened = same ?? (await this.#sessions.open(user, proof, { address: this.address(c), agent }));
    this.#setSession(c, opened.cookie);
    if (this.familiar(c, user.name) === undefined) {
      const known = this.#sessions.knownBrowser(user);
      setCookie(c, this.#cookies.known, known, this.#cookies.options('known'));
    }
    deleteCookie(c, this.#cookies.visit, this.#cookies.options('visit'));
    c.set('visit', undefined);
    c.set('session', opened.session);
    return opened.session;
  }

  async signOut(c: PageContext): Promise<void> {
    const { session } = c.var;
    if (session) await this.#sessions.end(session.user, session.id);
    deleteCookie(c, this.#cookies.session, this.#cookies.options('session'));
    c.set('session', undefined);
  }

  /** Names this browser where the user signed in before. */
  familiar(c: PageContext, email: string): string | undefined {
    const cookie = getCookie(c, this.#cookies.known);
    return cookie === undefined ? undefined : this.#sessions.familiar(cookie, email);
  }

  isFresh({ provenAt }: BrowserSession): boolean {
    // A clock that was set back must not make a proof last.
    return Math.abs(this.#now() - provenAt) < FRESH_MS;
  }

  /** What limits count as one. */
  network(c: PageContext): string {
    return this.#addresses.network(requestOf(c));
  }

  address(c: PageContext): string {
    return this.#addresses.exact(requestOf(c));
  }

  #setSession(c: PageContext, cookie: string): void {
    setCookie(c, this.#cookies.session, cookie, this.#cookies.options('session'));
  }
}

function requestOf(c: PageContext): IncomingMessage {
  return (c.env as { incoming: IncomingMessage }).incoming;
}
