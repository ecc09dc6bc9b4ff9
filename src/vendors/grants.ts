import type { VendorClient } from './client-proof.ts';
import type { Tokens } from './tokens.ts';

/** Whose grant: of a server, by its uid, and of a user, by e-mail; one without a user is everybody's. */
export type GrantKey = { server: string; owner: string };

/** Nobody's in particular. */
export const EVERYBODY = '';

/** A grant of a vendor, with all that its next refresh needs. */
export type Grant = {
  tokens: Tokens;
  issuer: string;
  /** Of the server, when somebody signed in: the tokens go nowhere else. */
  url: string;
  /** For whom the tokens are. */
  resource: string | undefined;
  tokenEndpoint: string;
  /** Where the grant can be ended (RFC 7009). */
  revocationEndpoint?: string | undefined;
  client: VendorClient;
};

export type KeptGrant = {
  grant: Grant;
  version: number;
  /** Why it is of no use any more. */
  lost: string | undefined;
  /** Who renews it, or did so last and never told how that ended. */
  lease: string | undefined;
  /** Until when they have it; grows while they live. 0: nobody has it. */
  leaseUntil: number;
  retryAt: number;
  failures: number;
};

export type Flow = 'device' | 'paste' | 'browser' | 'page';
export type KeptLogin<T> = { id: string; flow: Flow; details: T; pollAt: number; expiresAt: number };
export type LoginUnderWay = { server: string; owner: string; flow: Flow; expiresAt: number };

/**
 * Where grants and sign-ins under way are kept: each change is whole and durable when its promise resolves, or has not
 * happened. Processes may share it.
 */
export interface GrantStore {
  /** Undefined: nobody signed in. One that cannot be opened is lost. */
  read(key: GrantKey): Promise<KeptGrant | undefined>;
  /**
   * Keeps what a sign-in brought, instead of whatever was there, and ends the sign-in. False: that is no longer under
   * way.
   */
  settle(key: GrantKey, login: string, grant: Grant): Promise<boolean>;
  /** Names a lease that this process takes. */
  newLease(): string;
  /** Whether the process that took the lease is known to be gone; false: nobody knows. */
  isGone(lease: string): boolean;
  /** Takes the right to refresh, unless it is in other hands than it was read with: tells that a refresh begins. */
  lease(key: GrantKey, kept: KeptGrant, lease: string, until: number): Promise<boolean>;
  /** Keeps the right for longer. */
  extend(key: GrantKey, lease: string, until: number): Promise<void>;
  /** Keeps the tokens of a refresh of this version. False: a newer grant is there, or none. */
  renew(key: GrantKey, kept: KeptGrant, grant: Grant): Promise<boolean>;
  /** Gives the right back without new tokens; `unanswered`: the vendor may have issued some. */
  release(key: GrantKey, kept: KeptGrant, lease: string, change: Release): Promise<void>;
  /** Removes the grant and the sign-ins under way, and answers what was there. */
  remove(key: GrantKey): Promise<{ grant: Grant | undefined; any: boolean }>;
  /** Keeps a sign-in beside those under way; a device's replaces another device's. */
  begin<T>(key: GrantKey, login: KeptLogin<T>): Promise<void>;
  /** Those under way, the last one first. */
  logins<T>(key: GrantKey): Promise<KeptLogin<T>[]>;
  underWay(): Promise<LoginUnderWay[]>;
  /** Takes the turn to ask the vendor about a device. False: it is too early, or somebody else asks. */
  takePoll(key: GrantKey, login: KeptLogin<unknown>, next: number): Promise<boolean>;
  /** Keeps what a vendor has changed about a sign-in under way. */
  slowDown<T>(key: GrantKey, login: KeptLogin<T>, details: T, next: number): Promise<void>;
  /** Ends one sign-in, and no other. */
  endLogin(key: GrantKey, id: string): Promise<void>;
}

export type Release = { lost?: string; retryAt?: number; failures?: number; unanswered?: boolean };
