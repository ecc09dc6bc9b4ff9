import type { KeptCaller } from '../identity/absent-callers.ts';
import type { AuthenticatedCaller } from '../identity/caller.ts';
import type { Approval, DecisionWay } from './approval.ts';

/** Who decides, and how they came. */
export type Decider = {
  caller: AuthenticatedCaller;
  way: DecisionWay;
  /** On a page: the person was proven within the last minutes. */
  fresh: boolean;
};

/** What the rights say about the decider now. */
export type DeciderRights = { approves: boolean; missing: string; groups: readonly string[] };

/** Why somebody may not decide; undefined when they may. `needsProof`: they may once the person is proven again. */
export type DecisionRefusal = { sentence: string; needsProof?: true };

/** The credential of a person at the keyboard, not of a program that acts for one. */
export function wayAtApi({ principal, actor }: AuthenticatedCaller): 'cli' | 'api' {
  return principal.startsWith('User:') && actor === undefined ? 'cli' : 'api';
}

/**
 * Who may decide: whoever has the right and is among the approvers, as a person or by a token, but nothing that belongs
 * to whom the call belongs to. That owner may in person, where the rule lets them.
 */
export function refusalToDecide(
  approval: Pick<Approval, 'requester' | 'terms' | 'project'>,
  { caller, way, fresh }: Decider,
  rights: DeciderRights,
): DecisionRefusal | undefined {
  if (caller.actor !== undefined) return { sentence: 'nobody decides while acting as somebody else' };
  if (!rights.approves) return { sentence: `this needs ${rights.missing}` };
  const { approvers } = approval.terms;
  const named =
    approvers.length === 0 ||
    approvers.includes(`User:${caller.owner}`) ||
    rights.groups.some((group) => approvers.includes(`Group:${group}`));
  if (!named) return { sentence: `the rule leaves this to ${approvers.join(', ')}` };
  const inPerson = way === 'page' || way === 'cli';
  if (!inPerson && caller.principal.startsWith('User:'))
    return { sentence: 'a person decides on the page or on the command line, not through an MCP endpoint' };
  if (!isInvolved(approval.requester, caller)) return undefined;
  return ownRefusal(approval, way, fresh);
}

function ownRefusal(
  { terms }: Pick<Approval, 'terms'>,
  way: DecisionWay,
  fresh: boolean,
): DecisionRefusal | undefined {
  const { selfApproval } = terms;
  if (selfApproval === 'never')
    return { sentence: 'the call is your own, and the rule leaves it to somebody else' };
  if (way !== selfApproval) {
    const where = selfApproval === 'page' ? 'on its page' : 'on the command line of the server';
    return {
      sentence: `the call is your own: you may decide in person ${where}, and no credential may for you`,
    };
  }
  if (way === 'page' && !fresh)
    return { sentence: 'the call is your own: prove that it is you first', needsProof: true };
  return undefined;
}

/** Whether the decider belongs to whom the request belongs to, or to whoever acted as that. */
function isInvolved({ owner, actor }: KeptCaller, decider: AuthenticatedCaller): boolean {
  return [`User:${owner}`, actor].includes(`User:${decider.owner}`);
}
