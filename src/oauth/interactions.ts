import type { Surface } from '../resources/spec.ts';
import type { Scope } from './scopes.ts';

/**
 * What a person has to do before an authorization request can go on: sign in (`/sign-in/{uid}`), or decide
 * (`/consent/{uid}`). Each path carries a cookie of its own, so that several requests of one browser run side by side;
 * a page that is opened in another browser finds nothing.
 */
export type Interaction = {
  uid: string;
  prompt: 'login' | 'consent';
  client: InteractionClient;
  access: RequestedAccess;
  /** Who is signed in at this browser; always given where there is something to decide. */
  userEmail?: string;
};

export type InteractionClient = {
  id: string;
  name: string;
  source: 'registered' | 'metadata-document' | 'dynamic' | 'built-in';
  /** Host of the redirect URI, with its port; the scheme of a private-use one. Undefined for a device. */
  redirectHost?: string;
  /** It redirects to this machine alone: any program on it can claim to be this client. */
  localOnly: boolean;
  /** It redirects to a scheme of its own, which any program may have taken. */
  privateScheme: boolean;
};

export type RequestedAccess = {
  /** Undefined: everything, which only the scope `api` asks for. */
  project?: string;
  surfaces: readonly Surface[];
  scopes: readonly Scope[];
};

const PAGES = { login: '/sign-in', consent: '/consent' } as const;

/** Where the page for it is. */
export function interactionPath(prompt: Interaction['prompt'], uid: string): string {
  return `${PAGES[prompt]}/${uid}`;
}
