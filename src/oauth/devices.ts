import type { Provider } from 'oidc-provider';
import type { Artifacts } from './artifacts.ts';
import type { ClientRecord } from './clients.ts';
import type { Grants } from './grants.ts';
import { accessShown, clientShown, type InteractionClient, type RequestedAccess } from './interactions.ts';
import type { Target } from './requested-access.ts';
import type { Scope } from './scopes.ts';

/** A device that waits for its user (RFC 8628), as the page shows it before anything is decided. */
export type DeviceRequest = { client: InteractionClient; access: RequestedAccess };

/** `unknown`: there is no such code, its time is over, or somebody has decided · `too many`: wrong codes from this user. */
export type DeviceRefusal = 'unknown' | 'too many';

export type DeviceDeps = {
  provider(): Provider;
  artifacts: Artifacts;
  grants: Grants;
  client(id: string): Promise<ClientRecord | undefined>;
  target(indicator: string): Target | undefined;
  openTo(client: ClientRecord, target: Target): readonly Scope[] | undefined;
  userUid(email: string): string | undefined;
};

/** Wrong codes of one user: 5 of 20^8 in the ten minutes that a code lives are fewer than one in 2^32. */
const MAX_WRONG = 5;
const WRONG_MS = 600_000;
const USER_CODE = /^[BCDFGHJKLMNPQRSTVWXZ]{8}$/;

type Waiting = {
  userCode: string;
  payload: Record<string, unknown>;
  record: ClientRecord;
  indicator: string;
  target: Target;
  scopes: Scope[];
};

/** What signed-in users decide about devices. */
export class Devices {
  readonly #deps: DeviceDeps;

  constructor(deps: DeviceDeps) {
    this.#deps = deps;
  }

  /** @param typed the code as somebody types it @param email who is signed in at the browser */
  async find(typed: string, email: string): Promise<DeviceRequest | DeviceRefusal> {
    const waiting = await this.#find(typed, email);
    return typeof waiting === 'string'
      ? waiting
      : { client: clientShown(waiting.record), access: accessShown(waiting.target, waiting.scopes) };
  }

  /** The device gets its tokens the next time that it asks. */
  async approve(typed: string, email: string): Promise<'approved' | DeviceRefusal> {
    const waiting = await this.#find(typed, email);
    if (typeof waiting === 'string') return waiting;
    const { userCode, payload, record, indicator, target, scopes } = waiting;
    const userUid = this.#deps.userUid(email);
    if (userUid === undefined) return 'unknown';
    const { Grant } = this.#deps.provider();
    const grant = new Grant({ accountId: userUid, clientId: record.clientId });
    const scope = scopes.join(' ');
    grant.addResourceScope(indicator, scope);
    const grantId = await grant.save();
    const { projectUid } = target;
    const decided = await this.#deps.artifacts.decideDevice(
      userCode,
      { ...payload, accountId: userUid, grantId, scope, resource: indicator },
      { party: { userUid, clientId: record.clientId, projectUid }, grantId },
    );
    if (!decided) {
      await this.#deps.artifacts.endFamily(grantId);
      return 'unknown';
    }
    const consent = { userUid, clientId: record.clientId, clientName: record.name, projectUid, scopes };
    await this.#deps.grants.allow(consent);
    return 'approved';
  }

  async deny(typed: string, email: string): Promise<'denied' | DeviceRefusal> {
    const waiting = await this.#find(typed, email);
    if (typeof waiting === 'string') return waiting;
    const { userCode, payload, record } = waiting;
    const error = { error: 'access_denied', errorDescription: 'the user said no' };
    const party = { userUid: null, clientId: record.clientId, projectUid: null };
    const decided = await this.#deps.artifacts.decideDevice(
      userCode,
      { ...payload, ...error },
      { party, grantId: undefined },
    );
    return decided ? 'denied' : 'unknown';
  }

  async #find(typed: string, email: string): Promise<Waiting | DeviceRefusal> {
    const userUid = this.#deps.userUid(email);
    if (userUid === undefined) return 'unknown';
    const wasRight = await this.#deps.artifacts.takeTry(userUid, MAX_WRONG, WRONG_MS);
    if (!wasRight) return 'too many';
    const userCode = typed.toUpperCase().replace(/[^A-Z]/g, '');
    const waiting = USER_CODE.test(userCode) ? await this.#waiting(userCode) : undefined;
    if (!waiting) return 'unknown';
    await wasRight();
    return waiting;
  }

  async #waiting(userCode: string): Promise<Waiting | undefined> {
    const payload = await this.#deps.artifacts.findDevice(userCode);
    const params = payload?.params as { client_id?: string; resource?: string; scope?: string } | undefined;
    if (!payload || !params) return undefined;
    const record = await this.#deps.client(String(params.client_id ?? payload.clientId));
    const indicator = String(params.resource);
    const target = this.#deps.target(indicator);
    const open = record && target && this.#deps.openTo(record, target);
    if (!open) return undefined;
    const scopes = open.filter((scope) => String(params.scope).split(' ').includes(scope));
    return { userCode, payload, record, indicator, target, scopes };
  }
}
