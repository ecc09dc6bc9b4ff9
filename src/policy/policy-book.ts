import { anyGlobMatches, globCoversPrefix, globMatches } from '../base/glob.ts';
import type { Facts } from './expression.ts';
import type { Policy } from './policy.ts';
import { type DefaultAction, decide, isSettled, type PolicyPart, type Verdict } from './verdict.ts';

/** Everything that the policies of a project say about one tool. */
export type Ruling = {
  /** The verdict on every call; undefined when it depends on the call. */
  settled: Verdict | undefined;
  /** The project denies by default and no policy says a word about it: it is not shown either. */
  hidden: boolean;
  decide(facts: () => Facts): Verdict;
};

const MAX_RULINGS = 10_000;

/**
 * The policies of one snapshot, by project. What concerns a tool is looked up once; a call afterwards costs one look
 * into a table, and the evaluation of the conditions that are left.
 */
export class PolicyBook {
  readonly #policies: readonly Policy[];
  readonly #projects = new Map<string, ProjectPolicies>();

  constructor(policies: Iterable<Policy>) {
    this.#policies = [...policies].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  of(project: string, defaultAction: DefaultAction): ProjectPolicies {
    const known = this.#projects.get(project);
    if (known?.defaultAction === defaultAction) return known;
    const covering = this.#policies.filter((policy) => anyGlobMatches(policy.projects, project));
    const made = new ProjectPolicies(covering, defaultAction);
    if (this.#projects.size >= MAX_RULINGS) this.#projects.clear();
    this.#projects.set(project, made);
    return made;
  }
}

/** The policies that cover one project. */
export class ProjectPolicies {
  readonly defaultAction: DefaultAction;
  /** Whether any rule asks for an approval. */
  readonly mayHold: boolean;
  readonly #policies: readonly Policy[];
  readonly #tools = new Map<string, Ruling>();
  readonly #servers = new Map<string, Ruling>();

  constructor(policies: readonly Policy[], defaultAction: DefaultAction) {
    this.#policies = policies;
    this.defaultAction = defaultAction;
    this.mayHold = policies.some(
      (policy) => 'rules' in policy && policy.rules.some(({ action }) => action === 'approve'),
    );
  }

  /** @param tool canonical name */
  tool(tool: string): Ruling {
    return this.#known(this.#tools, tool, (glob) => globMatches(glob, tool));
  }

  /** What concerns a server as a whole, its prompts and resources: the rules that cover every name it could have. */
  server(server: string): Ruling {
    return this.#known(this.#servers, server, (glob) => globCoversPrefix(glob, `${server}__`));
  }

  #known(rulings: Map<string, Ruling>, name: string, covers: (glob: string) => boolean): Ruling {
    const known = rulings.get(name);
    if (known) return known;
    const ruling = this.#ruling(covers);
    if (rulings.size >= MAX_RULINGS) rulings.clear();
    rulings.set(name, ruling);
    return ruling;
  }

  #ruling(covers: (glob: string) => boolean): Ruling {
    const parts = this.#policies.flatMap((policy) => partOf(policy, covers) ?? []);
    const { defaultAction } = this;
    const noFacts = (): Facts => {
      throw new Error('a verdict without conditions asked for facts');
    };
    return {
      settled: isSettled(parts) ? decide(parts, defaultAction, noFacts) : undefined,
      hidden: defaultAction === 'deny' && parts.length === 0,
      decide: (facts) => decide(parts, defaultAction, facts),
    };
  }
}

function partOf(policy: Policy, covers: (glob: string) => boolean): PolicyPart | undefined {
  if ('fault' in policy) return { policy: policy.name, fault: policy.fault };
  const named = policy.rules
    .map((rule, index) => ({ ...rule, index }))
    .filter(({ tools }) => tools.some(covers));
  const last = named.findIndex(({ when }) => when === undefined);
  const rules = last < 0 ? named : named.slice(0, last + 1);
  return rules.length > 0 ? { policy: policy.name, rules } : undefined;
}
