import { Refusal } from '../base/errors.ts';
import type { ExpansionSources } from './expansion.ts';
import type { PutObject } from './layer-edit.ts';
import { checkObject } from './objects.ts';
import { describeProblems, type Problem } from './problems.ts';
import type { SecretFields } from './secret-fields.ts';
import { resolvedServerProblems, serverProblems } from './server-fields.ts';
import { expandServer, locateField } from './snapshot.ts';

/** @throws Refusal `invalid` naming each field, what is wrong with it and the fix */
export function checkedPut(body: unknown, builtin: ExpansionSources['builtin']): PutObject {
  const { object, problems } = checkObject(body);
  if (!object) throw refusalOf(problems);
  const { kind, name, spec, labels, resourceVersion } = object;
  if (kind === 'McpToken') {
    throw new Refusal('invalid', 'kind: a McpToken is created, not put: POST it to /api/v1/mcptokens');
  }
  if (kind === 'Server') refuseUnusable(spec, builtin);
  const { data, ...shown } = spec as SecretFields;
  return {
    kind,
    name,
    ...(kind === 'Secret' ? { spec: shown, values: data } : { spec }),
    ...(labels && { labels }),
    ...(resourceVersion !== undefined && { expected: { version: resourceVersion } }),
  };
}

/** The secrets may come later, and what is in them is no business of whoever writes the server. */
function refuseUnusable(spec: Record<string, unknown>, builtin: ExpansionSources['builtin']): void {
  let complete = true;
  const secret = (_name: string, _key: string, raw: string) => {
    complete = false;
    return { value: raw };
  };
  const { expanded, problems } = expandServer(spec, { env: undefined, builtin, secret });
  if (problems.length > 0) throw refusalOf(problems);
  const faults = complete ? resolvedServerProblems(expanded) : serverProblems(expanded);
  if (faults.length > 0) throw refusalOf(faults);
}

function refusalOf(problems: readonly Problem[]): Refusal {
  return new Refusal('invalid', describeProblems(problems.map(locateField)));
}
