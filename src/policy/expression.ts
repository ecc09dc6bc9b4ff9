import { Environment, type ParseError, type TypeError as TypeFault } from '@marcbachmann/cel-js';
import { type Bounds, boundsOf, ExpressionFault, type PatternUse } from './expression-bounds.ts';
import { type Meter, Pattern, PatternError } from './pattern.ts';

/** Who calls, as `caller` in an expression. */
export class CallerFacts {
  /** E-mail of the user that the credential belongs to. */
  readonly owner: string;
  /** `User:…` or `McpToken:…`. */
  readonly principal: string;
  /** Name of the token; empty for a user. */
  readonly token: string;
  readonly project: string;
  readonly surface: string;

  constructor(facts: { owner: string; principal: string; token: string; project: string; surface: string }) {
    this.owner = facts.owner;
    this.principal = facts.principal;
    this.token = facts.token;
    this.project = facts.project;
    this.surface = facts.surface;
  }
}

/** What is called, as `tool` in an expression. */
export class ToolFacts {
  /** Canonical: `server__upstreamName`. */
  readonly name: string;
  readonly server: string;
  /** What the operator lists in `Server.spec.tools.readOnly`. */
  readonly readOnly: boolean;

  constructor(facts: { name: string; server: string; readOnly: boolean }) {
    this.name = facts.name;
    this.server = facts.server;
    this.readOnly = facts.readOnly;
  }
}

export type Facts = {
  args: { readonly [name: string]: unknown };
  caller: CallerFacts;
  tool: ToolFacts;
};

/** A checked `when`, ready to be asked often. */
export type Expression = {
  /** Undefined when it fails: a field is missing, a type is wrong, or it would take too long. Never throws. */
  evaluate(facts: Facts, meter: Meter): boolean | undefined;
};

/** `column` counts characters of the expression from 1. */
export type ExpressionProblem = { column: number; message: string };

const MAX_LENGTH = 2_000;

/** Stands for the meter in the expression that runs; a name that no expression can write. */
const METER = 'castellan_meter';
class MeterFacts {
  readonly meter: Meter;
  constructor(meter: Meter) {
    this.meter = meter;
  }
}
class CompiledPattern {
  readonly pattern: Pattern;
  constructor(pattern: Pattern) {
    this.pattern = pattern;
  }
}

const CALLER = {
  owner: 'string',
  principal: 'string',
  token: 'string',
  project: 'string',
  surface: 'string',
};
const TOOL = { name: 'string', server: 'string', readOnly: 'bool' };

/**
 * `authors` is what an author sees: three variables, and the functions that `boundsOf` lets through. `runners` is what runs:
 * `matches` of the library backtracks, so ours takes its place, which needs the pattern and the meter.
 */
type Environments = { authors: Environment; runners: Environment };

let environments: Environments | undefined;

/** Made for the first expression: most servers have none. */
function prepared(): Environments {
  if (environments) return environments;
  const authors = new Environment({
    limits: { maxAstNodes: 500, maxDepth: 50, maxListElements: 200, maxMapEntries: 50, maxCallArguments: 4 },
  })
    .registerType('Caller', { ctor: CallerFacts, fields: CALLER })
    .registerType('Tool', { ctor: ToolFacts, fields: TOOL })
    .registerVariable('args', 'map<string, dyn>')
    .registerVariable('caller', 'Caller')
    .registerVariable('tool', 'Tool');
  const runners = authors
    .clone()
    .registerType('Meter', MeterFacts)
    .registerType('Pattern', CompiledPattern)
    .registerVariable(METER, 'Meter')
    .registerFunction(
      'string.castellan_matches(Pattern, Meter): bool',
      (text: string, { pattern }: CompiledPattern, { meter }: MeterFacts) => pattern.matches(text, meter),
    );
  environments = { authors, runners };
  return environments;
}

/** Parses and type-checks an expression over `args`, `caller` and `tool`, and refuses what could run long. */
export function compileExpression(
  source: string,
): { ok: true; value: Expression } | { ok: false; error: ExpressionProblem } {
  const problem = (column: number, message: string) => ({ ok: false as const, error: { column, message } });
  if (source.length > MAX_LENGTH) return problem(1, `is longer than ${MAX_LENGTH} characters`);
  const { authors } = prepared();
  const checked = authors.check(source);
  if (!checked.valid) {
    const { summary, range } = checked.error as ParseError | TypeFault;
    return problem((range?.start ?? 0) + 1, summary);
  }
  if (checked.type !== 'bool' && checked.type !== 'dyn')
    return problem(1, `is ${checked.type}, where a condition must be true or false`);
  try {
    const bounds = boundsOf(authors.parse(source).ast);
    return { ok: true, value: runnable(source, bounds) };
  } catch (error) {
    if (error instanceof ExpressionFault) return problem(error.at + 1, error.message);
    throw error;
  }
}

function runnable(source: string, bounds: Bounds): Expression {
  const environment = prepared().runners.clone();
  bounds.patterns.forEach((use, index) => {
    environment.registerConstant(`castellan_pattern_${index}`, 'Pattern', compiled(use));
  });
  const run = environment.parse(withOwnMatches(source, bounds.patterns));
  const { valid } = run.check();
  if (!valid) throw new Error('an expression changed its type while it was prepared');
  return {
    evaluate(facts, meter) {
      try {
        bounds.charge(facts.args, meter);
        const { args, caller, tool } = facts;
        const value: unknown = run({ args, caller, tool, [METER]: new MeterFacts(meter) });
        return typeof value === 'boolean' ? value : undefined;
      } catch {
        // Whatever went wrong in there, the rule decides what a failure means.
        return undefined;
      }
    },
  };
}

function compiled({ source, at }: PatternUse): CompiledPattern {
  try {
    return new CompiledPattern(new Pattern(source));
  } catch (error) {
    if (error instanceof PatternError)
      throw new ExpressionFault(at, `the pattern of matches: ${error.message}`);
    throw error;
  }
}

/** `x.matches("p")` becomes `x.castellan_matches(castellan_pattern_0, castellan_meter)`, from the last to the first. */
function withOwnMatches(source: string, patterns: readonly PatternUse[]): string {
  return patterns
    .map((use, index) => ({ ...use, index }))
    .sort((a, b) => b.name.start - a.name.start)
    .reduce((text, { name, argument, index }) => {
      const call = `castellan_matches${text.slice(name.end, argument.start)}castellan_pattern_${index}, ${METER}`;
      return text.slice(0, name.start) + call + text.slice(argument.end);
    }, source);
}
