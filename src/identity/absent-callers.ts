import type { Resources } from '../resources/registry.ts';
import type { Surface } from '../resources/spec.ts';
import type { Authorizer } from './authorizer.ts';
import { type AuthenticatedCaller, authenticatedCaller, type Principal } from './caller.ts';
import type { Tokens } from './tokens.ts';

/** A caller as it can be written down: who it is, and nothing that proves it. */
export type KeptCaller = {
  principal: Principal;
  owner: string;
  /** A later user of the same name is another one. */
  ownerUid: string;
  ceilings: readonly Principal[];
  actor?: Principal | undefined;
  tokenId?: string | undefined;
  credentialId?: string | undefined;
  tokenName?: string | undefined;
  project: string;
  projectUid?: string | undefined;
  surfaces: readonly Surface[];
};

/** Whether the authorization that an OAuth client acted under is still there. */
export type ClientAuthorizations = (kept: KeptCaller) => Promise<boolean>;

/** Callers that asked for something and have gone: who they are when it is about to be done. */
export class AbsentCallers {
  readonly #tokens: Pick<Tokens, 'callerOf'>;
  readonly #authorizer: Authorizer;
  readonly #resources: Pick<Resources, 'current' | 'snapshot'>;
  /** Of OAuth clients; nobody says yes before it is set. */
  clients: ClientAuthorizations = () => Promise.resolve(false);

  constructor(deps: {
    tokens: Pick<Tokens, 'callerOf'>;
    authorizer: Authorizer;
    resources: Pick<Resources, 'current' | 'snapshot'>;
  }) {
    this.#tokens = deps.tokens;
    this.#authorizer = deps.authorizer;
    this.#resources = deps.resources;
  }

  keep(caller: AuthenticatedCaller): KeptCaller {
    const { surfaces, ...fields } = caller;
    const ownerUid = this.#uidOf(caller.owner) ?? '';
    return { ...fields, ownerUid, surfaces: [...surfaces] };
  }

  /**
   * The caller as its credential makes it now, never with more than it had; undefined when that credential or its
   * owner has ended.
   */
  async find(kept: KeptCaller): Promise<AuthenticatedCaller | undefined> {
    await this.#resources.current();
    if (!this.#authorizer.rights().isActive(kept.owner) || this.#uidOf(kept.owner) !== kept.ownerUid)
      return undefined;
    const { ownerUid: _, surfaces, ...fields } = kept;
    if (kept.principal.startsWith('McpToken:')) {
      const now = await this.#tokens.callerOf(kept.principal.slice('McpToken:'.length));
      if (!now || now.owner !== kept.owner) return undefined;
      const ceilings = [...new Set([...now.ceilings, ...kept.ceilings])];
      return authenticatedCaller({ ...now, ceilings, ...(kept.actor && { actor: kept.actor }) });
    }
    if (kept.principal.startsWith('OAuthClient:') && !(await this.clients(kept))) return undefined;
    return authenticatedCaller({
      ...(fields as Omit<AuthenticatedCaller, 'surfaces'>),
      surfaces: new Set(surfaces),
    });
  }

  #uidOf(owner: string): string | undefined {
    return this.#resources.snapshot().access.users.get(owner)?.uid;
  }
}
