import type { LoginEnded, LoginProgress, LoginStep } from '../vendors/logins.ts';
import type { ServerClient } from './server-client.ts';

export type LoginWish = { flow?: 'device' | 'paste' } | { flow: 'browser'; redirectUri: string };

/** Where somebody signs in for one server: at a Castellan, or here. Every method rejects with what is wrong. */
export interface LoginDesk {
  begin(wish: LoginWish): Promise<LoginStep>;
  /** Rejects where nothing is under way. */
  pending(): Promise<LoginStep>;
  /** With the address that a browser came back to, or the id of a device's sign-in. */
  goOn(answer: { url?: string; id?: string }): Promise<LoginProgress>;
  end(): Promise<LoginEnded>;
  /** What `castellan mcp` needs beside the verb and the name to come back here. */
  flags: string;
}

/** At a Castellan that runs. */
export function servedDesk(client: ServerClient, server: string): LoginDesk {
  const path = `servers/${encodeURIComponent(server)}/login`;
  return {
    begin: async (wish) => (await client.post(path, wish)) as unknown as LoginStep,
    pending: async () => (await client.get(path)) as unknown as LoginStep,
    goOn: async (answer) => (await client.post(`${path}/complete`, answer)) as unknown as LoginProgress,
    end: async () => (await client.delete(path)) as unknown as LoginEnded,
    flags: '',
  };
}
