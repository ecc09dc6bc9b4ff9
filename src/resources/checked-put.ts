import { Refusal } from '../base/errors.ts';
import { type ExpansionSources, expandAll, expandText } from './expansion.ts';
import type { PutObject } from './layer-edit.ts';
import { checkObject } from './objects.ts';
import { describeProblems, type Problem } from './problems.ts';
import { resolvedServerProblems } from './server-fields.ts';
import { locateField } from './snapshot.ts';

/** @throws Refusal `invalid` naming each field, what is wrong with it and the fix */
export function checkedPut(body: unknown, builtin: ExpansionSources['builtin']): PutObject {
  const { object, problems } = checkObject(body);
  if (!object) throw refusalOf(problems);
  const { kind, name, spec, labels, resourceVersion } = object;
  if (kind === 'McpToken') {
    throw new Refusal('invalid', 'kind: a McpToken is created, not put: POST it to /api/v1/mcptokens');
  }
  if (kind === 'Server') {
    const faults: Problem[] = [];
    const sources = { env: undefined, builtin };
    const resolved = expandAll(spec, ['spec'], (text) => expandText(text, sources), faults);
    if (faults.length === 0) faults.push(...resolvedServerProblems(resolved));
    if (faults.length > 0) throw refusalOf(faults);
  }
  return {
    kind,
    name,
    spec,
    ...(labels && { labels }),
    ...(resourceVersion !== undefined && { expected: { version: resourceVersion } }),
  };
}

function refusalOf(problems: readonly Problem[]): Refusal {
  return new Refusal('invalid', describeProblems(problems.map(locateField)));
}
