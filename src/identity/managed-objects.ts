import { Refusal } from '../base/errors.ts';
import type { ResourceKind } from '../resources/known-objects.ts';
import type { ChangeCheck, LayerEdit, PlannedChange, PutAction } from '../resources/layer-edit.ts';
import type { ResourceObject } from '../resources/objects.ts';
import type { Resources } from '../resources/registry.ts';
import type { AuthenticatedCaller } from './caller.ts';
import { guardsFor } from './guards.ts';
import type { TokenRow } from './token-record.ts';
import type { Tokens } from './tokens.ts';

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
    { dryRun, createOnly }: { dryRun: boolean; createOnly: boolean },
  ): Promise<{ action: PutAction; object: ResourceObject }> {
    const guards = guardsFor(caller);
    const check: ChangeCheck = (change) => {
      guards(change);
      if (createOnly && change.existing) throw alreadyThere(change);
    };
    return this.#resources.put(body, { dryRun, check });
  }

  /** Tokens of a project go with it; those of a user are revoked and stay for the audit. */
  async remove(
    caller: AuthenticatedCaller,
    kind: ResourceKind,
    object: ResourceObject,
    dryRun: boolean,
  ): Promise<void> {
    const { name, uid } = object.metadata;
    const ended: TokenRow[] = [];
    const alongside = async (edit: LayerEdit) => {
      if (kind === 'Project') ended.push(...(await this.#tokens.removeProject(edit, uid)));
      if (kind === 'User') ended.push(...(await this.#tokens.revokeOwned(edit, uid)));
    };
    await this.#resources.remove(kind, name, { dryRun, check: guardsFor(caller), alongside });
    this.#tokens.end(ended);
  }
}

function alreadyThere({ kind, name }: PlannedChange): Refusal {
  const what = `${kind.toLowerCase()} ${name}`;
  return new Refusal(
    'conflict',
    `${what} exists already; change it with castellan apply, or use another name`,
  );
}
