import type { ASTNode } from '@marcbachmann/cel-js';
import { type Meter, OverBudget } from './pattern.ts';

/** Why an expression is refused; `at` is the offset of the place. */
export class ExpressionFault extends Error {
  readonly at: number;

  constructor(at: number, message: string) {
    super(message);
    this.at = at;
  }
}

type Range = { start: number; end: number };

/** One use of `matches`: its pattern, and where name and argument stand. */
export type PatternUse = { source: string; at: number; name: Range; argument: Range };

export type Bounds = {
  patterns: readonly PatternUse[];
  /** Takes what the expression may cost for these arguments off the meter. @throws OverBudget */
  charge(args: { readonly [name: string]: unknown }, meter: Meter): void;
};

const COMPREHENSIONS: ReadonlySet<string> = new Set(['all', 'exists', 'exists_one', 'filter', 'map']);
const FUNCTIONS: ReadonlySet<string> = new Set([
  ...COMPREHENSIONS,
  ...['bool', 'contains', 'double', 'dyn', 'endsWith', 'has', 'int', 'lowerAscii', 'matches', 'size'],
  ...['startsWith', 'string', 'trim', 'type', 'uint', 'upperAscii'],
]);
const STEPS_PER_VALUE = 10;

/**
 * What keeps an expression linear in the size of the arguments, checked when it is applied: functions from a list, one
 * comprehension deep, no `args` inside one, patterns that are known. What is left is charged by the size of the
 * arguments that the expression names, before it runs.
 */
export function boundsOf(root: ASTNode): Bounds {
  const walk = new Walk();
  walk.visit(root, undefined);
  const { fields, patterns } = walk;
  const weight = Math.max(1, walk.bodyNodes);
  return {
    patterns,
    charge(args, meter) {
      for (const field of fields) {
        const value = field === undefined ? args : Object.hasOwn(args, field) ? args[field] : undefined;
        chargeFor(value, weight, meter);
      }
    },
  };
}

class Walk {
  /** Fields of `args` as often as they are named; undefined is `args` as a whole. */
  readonly fields: (string | undefined)[] = [];
  readonly patterns: PatternUse[] = [];
  /** Nodes that are run once for each element of a list. */
  bodyNodes = 0;

  /** `inside` is the comprehension around the node, as written. */
  visit(node: ASTNode, inside: string | undefined): void {
    if (inside !== undefined) this.bodyNodes += 1;
    const named = namedArgs(node);
    if (named) {
      if (inside !== undefined) {
        const reason = 'it would be read for each element';
        throw new ExpressionFault(node.start, `args cannot be used inside ${inside}(…): ${reason}`);
      }
      this.fields.push(named.field);
      return;
    }
    if (node.op === 'call') mustBeAvailable(node.args[0], node);
    if (node.op === 'rcall') this.#method(node, node.args[0], node.args[1], node.args[2], inside);
    else for (const child of childrenOf(node)) this.visit(child, inside);
  }

  #method(
    node: ASTNode,
    name: string,
    receiver: ASTNode,
    args: readonly ASTNode[],
    inside: string | undefined,
  ): void {
    mustBeAvailable(name, node);
    if (name === 'matches') this.patterns.push(patternUse(node, receiver, args));
    const repeats = COMPREHENSIONS.has(name);
    if (repeats && (inside !== undefined || holdsComprehension(receiver))) {
      throw new ExpressionFault(node.start, `${name}(…) cannot stand inside or upon another one of its kind`);
    }
    this.visit(receiver, inside);
    // The first argument of a comprehension is the name of its variable.
    for (const one of repeats ? args.slice(1) : args) this.visit(one, repeats ? name : inside);
  }
}

function mustBeAvailable(name: string, node: ASTNode): void {
  if (FUNCTIONS.has(name)) return;
  const known = [...FUNCTIONS].sort().join(', ');
  throw new ExpressionFault(node.start, `${name}() is not available in a policy: use one of ${known}`);
}

/** Whether the node is `args`, or one field of it. */
function namedArgs(node: ASTNode): { field: string | undefined } | undefined {
  if (isArgs(node)) return { field: undefined };
  if (node.op === '.' && isArgs(node.args[0])) return { field: node.args[1] };
  if (node.op !== '[]' || !isArgs(node.args[0])) return undefined;
  const [, key] = node.args;
  return key.op === 'value' && typeof key.args === 'string' ? { field: key.args } : undefined;
}

const isArgs = (node: ASTNode): boolean => node.op === 'id' && node.args === 'args';

function patternUse(node: ASTNode, receiver: ASTNode, args: readonly ASTNode[]): PatternUse {
  const [pattern] = args;
  if (pattern?.op !== 'value' || typeof pattern.args !== 'string') {
    throw new ExpressionFault(
      pattern?.start ?? node.start,
      'the pattern of matches must be written out as a text',
    );
  }
  // Between receiver and argument there is nothing but brackets, space, the dot and the name.
  const between = node.input.slice(receiver.end, pattern.start);
  const offset = between.lastIndexOf('matches');
  if (offset < 0 || /\/\//.test(between)) {
    throw new ExpressionFault(node.start, 'matches must be written without a comment in between');
  }
  const start = receiver.end + offset;
  return {
    source: pattern.args,
    at: pattern.start,
    name: { start, end: start + 'matches'.length },
    argument: { start: pattern.start, end: pattern.end },
  };
}

function holdsComprehension(node: ASTNode): boolean {
  if (node.op === 'rcall' && COMPREHENSIONS.has(node.args[0])) return true;
  return childrenOf(node).some(holdsComprehension);
}

function childrenOf(node: ASTNode): readonly ASTNode[] {
  switch (node.op) {
    case 'value':
    case 'id':
      return [];
    case '.':
    case '.?':
      return [node.args[0]];
    case 'call':
      return node.args[1];
    case 'rcall':
      return [node.args[1], ...node.args[2]];
    case 'map':
      return node.args.flat();
    case '!_':
    case '-_':
      return [node.args];
    default:
      return node.args;
  }
}

/** Stops as soon as the meter cannot pay any more. */
function chargeFor(root: unknown, weight: number, meter: Meter): void {
  const waiting: unknown[] = [root];
  const price = weight * STEPS_PER_VALUE;
  while (waiting.length > 0) {
    const value = waiting.pop();
    meter.left -= price + (typeof value === 'string' ? weight * value.length : 0);
    if (Array.isArray(value)) mustAfford((waiting.length + value.length) * price, meter);
    else mustAfford(waiting.length * price, meter);
    if (typeof value !== 'object' || value === null) continue;
    for (const key in value) {
      waiting.push((value as Record<string, unknown>)[key]);
      if (waiting.length % 1_000 === 0) mustAfford(waiting.length * price, meter);
    }
  }
}

function mustAfford(steps: number, meter: Meter): void {
  if (steps > meter.left) throw new OverBudget('the arguments are too large for the expression');
}
