import { Refusal } from '../../base/errors.ts';
import { caseProblems, judge, type PolicyCase } from '../../resources/policy-case.ts';
import { describeProblems } from '../../resources/problems.ts';
import type { Resources } from '../../resources/registry.ts';
import { locateField } from '../../resources/snapshot.ts';
import { jsonObject } from './responses.ts';
import type { Route } from './route.ts';

/** Asks the policies that are in force what they would say about a call. */
export function policyRoutes({ resources }: { resources: Resources }): Route[] {
  return [
    {
      method: 'POST',
      path: '/policies/test',
      need: { ask: () => ({ role: 'view', resource: 'policies' }) },
      doc: { summary: 'Ask what the policies say about a call', body: 'PolicyCase', answer: 'JudgedCase' },
      handle: async (c) => {
        const body = await jsonObject(c);
        const problems = caseProblems(body, []);
        if (problems.length > 0) throw new Refusal('invalid', describeProblems(problems.map(locateField)));
        const wanted = body as PolicyCase;
        const { policies, projects } = resources.snapshot();
        if (wanted.project !== undefined && !projects.has(wanted.project))
          throw new Refusal('not_found', `there is no project ${wanted.project}`);
        const defaultActionOf = (project: string) => projects.get(project)?.spec.defaultAction ?? 'allow';
        return c.json(judge(policies.book, defaultActionOf, wanted));
      },
    },
  ];
}
