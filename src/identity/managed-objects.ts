import type { ResourceKind } from '../resources/known-objects.ts';
import type { ChangeCheck, LayerEdit, PlannedChange, PutAction } from '../resources/layer-edit.ts';
import type { ResourceObject } from '../resources/objects.ts';
import type { ChangeOptions, Resources } from '../resources/registry.ts';
import type { AuthenticatedCaller } from './caller.ts';
import { forgetClient, keepClient, rotateClient } from './client-changes.ts';
import { guardsFor } from './guards.ts';
import { forgetPerson } from './passwords.ts';
import type { TokenRow } from './token-record.ts';
import type { Tokens } from './tokens.ts';

type How = Pick<ChangeOptions, 'dryRun' | 'expected'>;

/** Changes of objects as somebody makes them: with every guard, and with the tokens that end with an object. */
export class ManagedObjects {
  readonly #resources: Resources;
  readonly #tokens: Tokens;
  readonly #refuse: ChangeCheck;

  /** @param refuse what else may stand in the way of an object */
  constructor(resources: Resources, tokens: Tokens, refuse: ChangeCheck = () => {}) {
    this.#resources = resources;
    this.#tokens = tokens;
    this.#refuse = refuse;
  }

  /**
   * `secret` is that of a new OAuthClient, which is shown this once.
   * @throws Refusal `forbidden` naming the right that is missing, and whatever `Resources.put` refuses
   */
  async put(
    caller: AuthenticatedCaller,
    body: unknown,
    how: How,
  ): Promise<{ action: PutAction; object: ResourceObject; secret?: string | undefined }> {
    const guards = guardsFor(caller);
    let planned: PlannedChange | undefined;
    let secret: string | undefined;
    const check = (change: PlannedChange) => {
      guards(change);
      this.#refuse(change);
      planned = change;
    };
    const alongside = async (edit: LayerEdit) => {
      if (planned?.kind === 'OAuthClient') secret = await keepClient(edit, planned, caller);
    };
    return { ...(await this.#resources.put(body, { ...how, check, alongside })), secret };
  }

  /**
   * A new secret for an OAuthClient, one of a file too, shown this once; the one before goes on for `overlapMs`.
   * @throws Refusal `forbidden` when it acts for a user whom the caller may not act for, `conflict` without secrets
   */
  rotateClient(caller: AuthenticatedCaller, uid: string, overlapMs: number): Promise<string> {
    return this.#resources.edit((edit) =>
      rotateClient(edit, this.#resources.get('OAuthClient', uid), caller, overlapMs),
    );
  }

  /** Tokens of a project go with it; those of a user are revoked and stay for the audit; nobody signs in as them. */
  async remove(
    caller: AuthenticatedCaller,
    kind: ResourceKind,
    object: ResourceObject,
    how: How,
  ): Promise<void> {
    const { name, uid } = object.metadata;
    const ended: TokenRow[] = [];
    const alongside = async (edit: LayerEdit) => {
      if (kind === 'Project') ended.push(...(await this.#tokens.removeProject(edit, uid)));
      if (kind === 'User') {
        ended.push(...(await this.#tokens.revokeOwned(edit, uid)));
        if (edit.transaction) await forgetPerson(edit.transaction, uid);
      }
      if (kind === 'OAuthClient') await forgetClient(edit, uid);
    };
    await this.#resources.remove(kind, name, { ...how, check: guardsFor(caller), alongside });
    this.#tokens.end(ended);
  }
}
