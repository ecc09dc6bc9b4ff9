import { compileExpression, type Expression } from './expression.ts';

export type PolicyAction = 'allow' | 'deny' | 'approve';

/** What a rule says about deciding on a call that it holds. */
export type HoldTerms = {
  /** `User:…` and `Group:…`; empty: whoever has the right. */
  approvers: readonly string[];
  /** For how long it waits for a decision. */
  expiresMs: number;
  /** Where the owner of the asking credential may decide in person. */
  selfApproval: 'page' | 'cli' | 'never';
  /** `retry`: an approval does not make the call, it lets the caller make it. */
  executeOn: 'approve' | 'retry';
  /** For how long a caller that can be told nothing else is kept waiting. */
  holdMs: number;
  /** For how long the outcome is kept for a caller that asks again. */
  outcomeTtlMs: number;
  notify?: NoticeTarget | undefined;
};

/** Who is told of a call that waits. As it is written: placeholders are filled in when a message leaves. */
export type NoticeTarget = {
  url: string;
  /** Signs the message; at ntfy, the access token. */
  secret?: string | undefined;
  format: 'webhook' | 'ntfy' | 'slack';
  /** They are told again so often while nobody decides. */
  remindMs?: number | undefined;
};

/** A rule as it is written, its shape checked. */
export type WrittenRule = {
  tools: readonly string[];
  when?: string;
  action: PolicyAction;
  reason?: string;
  /** With `action: approve`. */
  hold?: HoldTerms;
};

export type Rule = {
  /** Globs over canonical names. */
  tools: readonly string[];
  action: PolicyAction;
  /** For whoever is refused. */
  reason: string | undefined;
  hold: HoldTerms | undefined;
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
  const rules = written.map(({ tools, when, action, reason, hold }, rule): Rule => {
    const compiled = when === undefined ? undefined : compileExpression(when);
    if (compiled && !compiled.ok) {
      const { column, message } = compiled.error;
      problems.push({ rule, message: `column ${column}: ${message}` });
    }
    return { tools, action, reason, hold, when: compiled?.ok ? compiled.value : undefined };
  });
  return problems.length > 0 ? { rules: [], problems } : { rules, problems };
}
