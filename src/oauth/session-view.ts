import type { KoaContextWithOIDC, Provider } from 'oidc-provider';

/** Whose request it is. `by` says what lets it act for that user: the browser, or what an administrator bound. */
export type SessionUser = {
  uid: string;
  /** Names the sign-in without being its secret; another sign-in has another. */
  sessionId: string;
  /** When the password was last proven, ms since 1970. */
  provenAt: number;
  by: 'browser' | 'administrator';
};

/**
 * Makes the provider's session a view of ours: it is read anew for each request, and neither kept nor put in a cookie,
 * so that signing out, or in as somebody else, is all that there is to do.
 */
export function viewSessions(
  { Session }: Provider,
  userOf: (ctx: KoaContextWithOIDC) => Promise<SessionUser | undefined>,
): void {
  Session.get = async (bare) => {
    const ctx = bare as KoaContextWithOIDC;
    const user = await userOf(ctx);
    const session = new Session();
    if (user) {
      session.accountId = user.uid;
      session.loginTs = Math.floor(user.provenAt / 1_000);
      session.uid = user.sessionId;
    }
    // What is never touched is never saved.
    Object.defineProperty(session, 'touched', { value: false });
    ctx.oidc?.entity('Session', session);
    return session;
  };
}
