import { compileExpression, type Expression } from './expression.ts';

export type PolicyAction = 'allow' | 'deny' | 'approve';

/** A rule as it is written, its shape checked. */
export type WrittenRule = { tools: readonly string[]; when?: string; action: PolicyAction; reason?: string };

export type Rule = {
  /** Globs over canonical names. */
  tools: readonly string[];
  action: PolicyAction;
  /** For whoever is refused. */
  reason: string | undefined;
  /** Undefined: always. */
  when: Expression | undefined;
};

/** A policy that can be asked, or one that cannot be read and denies whatever it would cover. */
export type Policy = {
  name: string;
  /** Globs over names of projects. */
  projects: readonly string[];
} & ({ rules: readonly Rule[] } | { fault: string });

/** Compiles the expressions; `problems` name rule and column, and then there is no rule to use. */
export function compileRules(written: readonly WrittenRule[]): {
  rules: Rule[];
  problems: { rule: number; message: string }[];
} {
  const problems: { rule: number; message: string }[] = [];
  const rules = written.map(({ tools, when, action, reason }, rule): Rule => {
    const compiled = when === undefined ? undefined : compileExpression(when);
    if (compiled && !compiled.ok) {
      const { column, message } = compiled.error;
      problems.push({ rule, message: `column ${column}: ${message}` });
    }
    return { tools, action, reason, when: compiled?.ok ? compiled.value : undefined };
  });
  return problems.length > 0 ? { rules: [], problems } : { rules, problems };
}
