import type { ResourceKind } from '../resources/known-objects.ts';
import type { LayerEdit, PutAction } from '../resources/layer-edit.ts';
import type { ResourceObject } from '../resources/objects.ts';
import type { ChangeOptions, Resources } from '../resources/registry.ts';
import type { AuthenticatedCaller } from './caller.ts';
import { guardsFor } from './guards.ts';
import { forgetPerson } from './passwords.ts';
import type { TokenRow } from './token-record.ts';
import type { Tokens } from './tokens.ts';

type How = Pick<ChangeOptions, 'dryRun' | 'expected'>;

/** Changes of objects as somebody makes them: with every guard, and with the tokens that end with an object. */
export class ManagedObjects {
  readonly #resources: Resources;
  readonly #tokens: Tokens;

  constructor(resources: Resources, tokens: Tokens) {
    this.#resources = resources;
    this.#tokens = tokens;
  }

  /** @throws Refusal `forbidden` naming the right that is missing, and whatever `Resources.put` refuses */
  put(
    caller: AuthenticatedCaller,
    body: unknown,
    how: How,
  ): Promise<{ action: PutAction; object: ResourceObject }> {
    return this.#resources.put(body, { ...how, check: guardsFor(caller) });
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
      if (kind !== 'User') return;
      ended.push(...(await this.#tokens.revokeOwned(edit, uid)));
      if (edit.transaction) await forgetPerson(edit.transaction, uid);
    };
    await this.#resources.remove(kind, name, { ...how, check: guardsFor(caller), alongside });
    this.#tokens.end(ended);
  }
}
