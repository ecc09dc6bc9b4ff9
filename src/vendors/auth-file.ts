import { randomUUID } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Refusal } from '../base/errors.ts';
import { lockFile } from '../store/file-lock.ts';
import { readPrivateFile, removeTemporaryFiles, writePrivateFile } from '../store/private-file.ts';
import { unionOf } from './challenge.ts';
import type { Grant, GrantKey, GrantStore, KeptGrant, KeptLogin, LoginUnderWay, Release } from './grants.ts';
import { MAX_SIGN_INS, type ScopeMemory } from './wanted-scopes.ts';

type Login = KeptLogin<unknown> & GrantKey;
type Scopes = { scope: string; signIns: number };
type Content = {
  grants: Record<string, KeptGrant>;
  /** The last one first. */
  logins: Login[];
  scopes: Record<string, Scopes>;
};

const NAME = 'auth.json';
const LOCK = 'auth.lock';
const MAX_BYTES = 4 * 1024 * 1024;
const PATIENCE_MS = 20_000;
const MAX_UNDER_WAY = 10;

/**
 * Grants and sign-ins under way of one user on one machine, in a file that nobody else can read. It is no more sealed
 * than a key beside it would be safe. Processes change it one after another, each time as a whole; a killed one leaves
 * the content of before, or the new one.
 */
export class AuthFile implements GrantStore, ScopeMemory {
  readonly file: string;
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    this.file = path.join(folder, NAME);
  }

  newLease(): string {
    return `${process.pid}/${randomUUID()}`;
  }

  isGone(lease: string): boolean {
    try {
      process.kill(Number.parseInt(lease, 10), 0);
      return false;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'ESRCH';
    }
  }

  async read(key: GrantKey): Promise<KeptGrant | undefined> {
    const { grants } = await this.#content();
    return Object.hasOwn(grants, nameOf(key)) ? grants[nameOf(key)] : undefined;
  }

  settle(key: GrantKey, login: string, grant: Grant): Promise<boolean> {
    return this.#change((content) => {
      const rest = content.logins.filter(({ id }) => id !== login);
      if (rest.length === content.logins.length) return false;
      content.logins = rest;
      const version = (content.grants[nameOf(key)]?.version ?? 0) + 1;
      content.grants[nameOf(key)] = renewed(grant, version);
      return true;
    });
  }

  lease(key: GrantKey, { version, leaseUntil }: KeptGrant, lease: string, until: number): Promise<boolean> {
    return this.#ofVersion(key, version, (kept) => {
      if (kept.leaseUntil !== leaseUntil) return false;
      Object.assign(kept, { lease, leaseUntil: until });
      return true;
    });
  }

  async extend(key: GrantKey, lease: string, until: number): Promise<void> {
    await this.#change(({ grants }) => {
      const kept = grants[nameOf(key)];
      if (kept?.lease === lease && kept.leaseUntil > 0) kept.leaseUntil = until;
    });
  }

  renew(key: GrantKey, { version }: KeptGrant, grant: Grant): Promise<boolean> {
    return this.#ofVersion(key, version, (_, { grants }) => {
      grants[nameOf(key)] = renewed(grant, version + 1);
      return true;
    });
  }

  async release(key: GrantKey, { version }: KeptGrant, lease: string, change: Release): Promise<void> {
    await this.#ofVersion(key, version, (kept) => {
      if (kept.lease !== lease) return false;
      const { lost, retryAt = 0, failures = 0, unanswered } = change;
      Object.assign(kept, { lost, retryAt, failures, lease: unanswered ? lease : undefined, leaseUntil: 0 });
      return true;
    });
  }

  remove(key: GrantKey): Promise<{ grant: Grant | undefined; any: boolean }> {
    return this.#change((content) => {
      const kept = content.grants[nameOf(key)];
      const rest = content.logins.filter((login) => nameOf(login) !== nameOf(key));
      const any = kept !== undefined || rest.length < content.logins.length;
      delete content.grants[nameOf(key)];
      content.logins = rest;
      return { grant: kept?.lost === undefined ? kept?.grant : undefined, any };
    });
  }

  async begin<T>(key: GrantKey, login: KeptLogin<T>): Promise<void> {
    await this.#change((content) => {
      const isOver = (one: Login) => nameOf(one) === nameOf(key) && one.flow === 'device';
      const others = content.logins.filter((one) => login.flow !== 'device' || !isOver(one));
      const own = others.filter((one) => nameOf(one) === nameOf(key)).slice(0, MAX_UNDER_WAY - 1);
      const rest = others.filter((one) => nameOf(one) !== nameOf(key));
      content.logins = [{ ...login, ...key }, ...own, ...rest];
    });
  }

  async logins<T>(key: GrantKey): Promise<KeptLogin<T>[]> {
    const { logins } = await this.#content();
    return logins.filter((login) => nameOf(login) === nameOf(key)) as (KeptLogin<T> & GrantKey)[];
  }

  async underWay(): Promise<LoginUnderWay[]> {
    const { logins } = await this.#content();
    return logins.map(({ server, owner, flow, expiresAt }) => ({ server, owner, flow, expiresAt })).reverse();
  }

  takePoll(_: GrantKey, { id, pollAt }: KeptLogin<unknown>, next: number): Promise<boolean> {
    return this.#change(({ logins }) => {
      const login = logins.find((one) => one.id === id && one.pollAt === pollAt);
      if (login) login.pollAt = next;
      return login !== undefined;
    });
  }

  async slowDown<T>(_: GrantKey, { id }: KeptLogin<T>, details: T, next: number): Promise<void> {
    await this.#change(({ logins }) => {
      const login = logins.find((one) => one.id === id);
      if (login) Object.assign(login, { details, pollAt: next });
    });
  }

  async endLogin(_: GrantKey, id: string): Promise<void> {
    await this.#change((content) => {
      content.logins = content.logins.filter((login) => login.id !== id);
    });
  }

  async of(key: GrantKey): Promise<string | undefined> {
    return (await this.#content()).scopes[nameOf(key)]?.scope;
  }

  want(key: GrantKey, had: string | undefined, scopes: readonly string[]): Promise<boolean> {
    return this.#change((content) => {
      const known = content.scopes[nameOf(key)];
      const before = known?.scope.split(' ') ?? [];
      if (known && scopes.every((one) => before.includes(one))) return known.signIns < MAX_SIGN_INS;
      const scope = unionOf(unionOf(had, before), scopes) ?? '';
      if (!scopes.every((one) => scope.split(' ').includes(one))) return false;
      content.scopes[nameOf(key)] = { scope, signIns: 1 };
      return true;
    });
  }

  async signedIn(key: GrantKey): Promise<void> {
    await this.#change(({ scopes }) => {
      const known = scopes[nameOf(key)];
      if (known) known.signIns += 1;
    });
  }

  async forget(key: GrantKey): Promise<void> {
    await this.#change(({ scopes }) => {
      delete scopes[nameOf(key)];
    });
  }

  #ofVersion(
    key: GrantKey,
    version: number,
    change: (kept: KeptGrant, content: Content) => boolean,
  ): Promise<boolean> {
    return this.#change((content) => {
      const kept = content.grants[nameOf(key)];
      return kept?.version === version && change(kept, content);
    });
  }

  /** Lets `change` change the content while no other process does. */
  async #change<T>(change: (content: Content) => T): Promise<T> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const lock = await lockFile(path.join(this.#folder, LOCK), PATIENCE_MS);
    if (!lock)
      throw new Refusal(
        'unavailable',
        `another castellan has held ${path.join(this.#folder, LOCK)} for ${PATIENCE_MS / 1_000} s: end it`,
      );
    try {
      await removeTemporaryFiles(this.#folder, NAME);
      const content = await this.#content();
      const before = JSON.stringify(content);
      const result = change(content);
      if (JSON.stringify(content) !== before)
        await writePrivateFile(this.file, `${JSON.stringify(content, null, 2)}\n`);
      return result;
    } finally {
      lock.release();
    }
  }

  /** @throws Refusal when the file is damaged, or others can read it */
  async #content(): Promise<Content> {
    const read = await readPrivateFile(this.file, MAX_BYTES);
    if (!read) return { grants: {}, logins: [], scopes: {} };
    const fix = 'sign out at the vendors whose tokens are in it, delete it, and sign in again';
    if (read.openToOthers)
      throw new Refusal(
        'invalid',
        `${this.file} can be read by other users: run chmod 600 ${this.file}; or ${fix}`,
      );
    const content = parsed(read.content);
    if (!content) throw new Refusal('invalid', `${this.file} is damaged: ${fix}`);
    const now = Date.now();
    return { ...content, logins: content.logins.filter(({ expiresAt }) => expiresAt > now) };
  }
}

const nameOf = ({ server, owner }: GrantKey) => (owner === '' ? server : `${server} ${owner}`);

function renewed(grant: Grant, version: number): KeptGrant {
  const none = { lost: undefined, lease: undefined, leaseUntil: 0, retryAt: 0, failures: 0 };
  return { grant, version, ...none };
}

function parsed(text: string): Content | undefined {
  try {
    const { grants, logins, scopes } = JSON.parse(text) as Partial<Content>;
    const whole = isMapping(grants) && Array.isArray(logins) && isMapping(scopes);
    return whole ? { grants, logins, scopes } : undefined;
  } catch {
    return undefined;
  }
}

const isMapping = <T>(value: Record<string, T> | undefined): value is Record<string, T> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
