import type { Facts } from './expression.ts';
import { DECISION_STEPS, type Meter } from './pattern.ts';
import type { HoldTerms, PolicyAction, Rule } from './policy.ts';

/** What decided: a rule (counted from 0), a policy that cannot be read, or the project's `defaultAction`. */
export type DecidedBy =
  | { policy: string; rule: number }
  | { policy: string; fault: string }
  | 'defaultAction';

export type Verdict = {
  action: PolicyAction;
  by: DecidedBy;
  /** What the rule says to whoever is refused. */
  reason: string | undefined;
  /** Of `action: approve`. */
  hold?: HoldTerms | undefined;
  /** The rule counts because its condition failed. */
  failed: boolean;
};

export type DefaultAction = 'allow' | 'deny';

/** What one policy says about one tool: its rules for the tool, in order and up to the first without condition. */
export type PolicyPart =
  | { policy: string; rules: readonly (Rule & { index: number })[] }
  | { policy: string; fault: string };

/** A refusal is stronger than a question, a question stronger than a permission. */
const STRENGTH: Readonly<Record<PolicyAction, number>> = { allow: 0, approve: 1, deny: 2 };

/**
 * The decision about one call. In a policy the first rule that matches counts; of what the policies say the strictest
 * counts, whatever their order; where none says anything, `defaultAction` does. Of two that are equally strict the
 * first in the order of `parts` is named.
 */
export function decide(
  parts: readonly PolicyPart[],
  defaultAction: DefaultAction,
  facts: () => Facts,
): Verdict {
  const meter: Meter = { left: DECISION_STEPS };
  let known: Facts | undefined;
  const conditionOf = (rule: Rule): boolean | undefined => {
    known ??= facts();
    return rule.when?.evaluate(known, meter);
  };
  let strictest: Verdict | undefined;
  for (const part of parts) {
    const verdict = partVerdict(part, conditionOf);
    if (!verdict) continue;
    if (!strictest || STRENGTH[verdict.action] > STRENGTH[strictest.action]) strictest = verdict;
    if (strictest.action === 'deny') break;
  }
  return strictest ?? { action: defaultAction, by: 'defaultAction', reason: undefined, failed: false };
}

function partVerdict(
  part: PolicyPart,
  conditionOf: (rule: Rule) => boolean | undefined,
): Verdict | undefined {
  if ('fault' in part) return unreadable(part);
  for (const rule of part.rules) {
    const holds = rule.when ? conditionOf(rule) : true;
    // A condition that fails never opens anything.
    const counts = holds ?? rule.action !== 'allow';
    if (!counts) continue;
    const by = { policy: part.policy, rule: rule.index };
    return {
      action: rule.action,
      by,
      reason: rule.reason,
      failed: holds === undefined,
      ...(rule.hold && { hold: rule.hold }),
    };
  }
  return undefined;
}

function unreadable({ policy, fault }: { policy: string; fault: string }): Verdict {
  const reason =
    'a policy of this project cannot be read, and nothing that it covers is allowed until it can';
  return { action: 'deny', by: { policy, fault }, reason, failed: false };
}

/** Whether the verdict does not depend on the call, so that one decision serves all. */
export function isSettled(parts: readonly PolicyPart[]): boolean {
  return parts.every((part) => 'fault' in part || part.rules.every((rule) => rule.when === undefined));
}
