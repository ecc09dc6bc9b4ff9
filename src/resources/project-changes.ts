import { LIMITED } from './limit-fields.ts';
import { type ProjectFields, projectSpec } from './project-fields.ts';
import type { CallLimit, CallLimits, ProjectSpec } from './spec.ts';

/** Servers that a surface of the project gets; all of them where it is new. */
export function addedServers(before: ProjectFields | undefined, after: ProjectFields): string[] {
  const was = projectSpec(before ?? {});
  const is = projectSpec(after);
  return [...added(was.servers, is.servers), ...added(was.operatorServers, is.operatorServers)];
}

/** The first field that holds back less than it did; a new project is compared with one that says nothing. */
export function loosenedField(before: ProjectFields | undefined, after: ProjectFields): string | undefined {
  const was = projectSpec(before ?? {});
  const is = projectSpec(after);
  if (was.defaultAction === 'deny' && is.defaultAction === 'allow') return 'spec.defaultAction';
  if (was.newTools === 'hold' && is.newTools === 'list') return 'spec.newTools';
  if (was.changedTools === 'hold' && is.changedTools === 'warn') return 'spec.changedTools';
  if (!was.tickets.selfHandle && is.tickets.selfHandle) return 'spec.tickets.selfHandle';
  return loosenedAudit(was.audit, is.audit) ?? loosenedLimit(was.limits, is.limits);
}

function loosenedAudit(was: ProjectSpec['audit'], is: ProjectSpec['audit']): string | undefined {
  if (was.intent === 'strict' && is.intent === 'relaxed') return 'spec.audit.intent';
  return was.arguments && !is.arguments ? 'spec.audit.arguments' : undefined;
}

function loosenedLimit(was: CallLimits = {}, is: CallLimits = {}): string | undefined {
  const subject = LIMITED.find((one) => isLooser(was[one], is[one]));
  return subject && `spec.limits.${subject}`;
}

function isLooser(was: CallLimit | undefined, is: CallLimit | undefined): boolean {
  if (!was) return false;
  if (was.concurrent !== undefined && (is?.concurrent ?? Infinity) > was.concurrent) return true;
  if (!was.rate) return false;
  if (!is?.rate) return true;
  // More at a time is more, also where it comes to the same in the long run.
  const moreAtOnce = is.rate.calls > was.rate.calls;
  return moreAtOnce || is.rate.calls * was.rate.perMs > was.rate.calls * is.rate.perMs;
}

function added(before: readonly string[], after: readonly string[]): string[] {
  return after.filter((name) => !before.includes(name));
}
