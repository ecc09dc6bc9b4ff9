import { type Adapter, type AdapterPayload, errors, Provider } from 'oidc-provider';
import type { Artifacts, Payload } from './artifacts.ts';
import { clientMetadata } from './client-metadata.ts';
import type { ClientSource } from './clients.ts';

export type AdapterDeps = {
  artifacts: Artifacts;
  clients: ClientSource;
  /** Uid of the project that an indicator names, empty for everything; undefined where there is none. */
  projectUidOf(indicator: string): string | undefined;
  /** Whether a project of that uid is there. */
  isProject(uid: string): boolean;
};

/** What must not be in the database: an id in plain, or what only the answer to its own request needs. */
const NEVER_KEPT = ['jti', 'returnTo', 'userCode'];

/** Where oidc-provider keeps the things of one of its kinds. */
export function adapterFor(kind: string, deps: AdapterDeps): Adapter {
  return kind === 'Client' ? new ClientAdapter(deps.clients) : new ArtifactAdapter(kind, deps);
}

class ArtifactAdapter implements Adapter {
  readonly #kind: string;
  readonly #deps: AdapterDeps;

  constructor(kind: string, deps: AdapterDeps) {
    this.#kind = kind;
    this.#deps = deps;
  }

  async upsert(id: string, payload: AdapterPayload, expiresIn: number): Promise<void> {
    const kept: Payload = { ...payload };
    for (const key of NEVER_KEPT) delete kept[key];
    const indicator = indicatorOf(payload);
    await this.#deps.artifacts.put(this.#kind, id, {
      payload: kept,
      grantId: this.#kind === 'Interaction' ? undefined : payload.grantId,
      userCode: payload.userCode,
      party: {
        userUid: payload.accountId ?? (payload.extra?.sub as string | undefined) ?? null,
        clientId: payload.clientId ?? null,
        projectUid: (indicator && this.#deps.projectUidOf(indicator)) ?? null,
      },
      expiresInMs: expiresIn * 1_000,
    });
  }

  async find(id: string): Promise<AdapterPayload | undefined> {
    const found = await this.#deps.artifacts.find(this.#kind, id);
    if (!found) return undefined;
    // A later project of the same name is another one.
    if (found.projectUid && !this.#deps.isProject(found.projectUid)) return undefined;
    const consumed = found.consumedAt === undefined ? undefined : Math.floor(found.consumedAt / 1_000);
    return { ...found.payload, jti: id, ...(consumed !== undefined && { consumed }) };
  }

  /** The provider looks whether something is consumed and then consumes it: between two that looked, this decides. */
  async consume(id: string): Promise<void> {
    if ((await this.#deps.artifacts.consume(this.#kind, id)) !== 'repeated') return;
    const { ctx } = Provider;
    const found = await this.find(id);
    if (ctx && found?.grantId) {
      await this.#deps.artifacts.endFamily(found.grantId);
      ctx.oidc.provider.emit('grant.revoked', ctx, found.grantId);
    }
    throw new errors.InvalidGrant('it was used before');
  }

  async destroy(id: string): Promise<void> {
    if (this.#kind === 'Grant') await this.#deps.artifacts.endFamily(id);
    else await this.#deps.artifacts.remove(this.#kind, id);
  }

  /** Its destruction as a `Grant` ends all of them; a client that revokes one access token means that one. */
  async revokeByGrantId(): Promise<void> {}

  /** Sessions are the browser's own, and devices are looked up by whoever shows their page. */
  async findByUid(): Promise<undefined> {}
  async findByUserCode(): Promise<undefined> {}
}

class ClientAdapter implements Adapter {
  readonly #clients: ClientSource;

  constructor(clients: ClientSource) {
    this.#clients = clients;
  }

  async find(id: string): Promise<AdapterPayload | undefined> {
    const oidc = Provider.ctx?.oidc;
    const mayFetch = oidc?.route === 'authorization' && oidc.session?.accountId !== undefined;
    const record = await this.#clients.find(id, { mayFetch });
    return record && (clientMetadata(record) as AdapterPayload);
  }

  async upsert(): Promise<void> {
    throw new Error('clients are kept elsewhere');
  }
  async consume(): Promise<void> {}
  async destroy(): Promise<void> {}
  async revokeByGrantId(): Promise<void> {}
  async findByUid(): Promise<undefined> {}
  async findByUserCode(): Promise<undefined> {}
}

function indicatorOf({ aud, resource, resources }: AdapterPayload): string | undefined {
  const named = aud ?? resource ?? (resources && Object.keys(resources)[0]);
  return typeof named === 'string' ? named : undefined;
}
