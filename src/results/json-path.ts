import { createRequire } from 'node:module';
import type { JSONPathError, JSONPathQuery, JSONValue, jsonpath } from 'json-p3';
import { ok, type Result, refused } from '../base/result.ts';

const MAX_EXPRESSION = 256;
/** What the selectors of all segments multiply to, such as 2 of `$.items[*]['name','url']`. */
const MAX_BRANCHES = 16;
/** Evaluation visits each value a bounded number of times; so many values take a fraction of a second. */
const MAX_VALUES = 100_000;
const MAX_DEPTH = 64;
/** Kinds of tokens as the library names them. */
const FUNCTION = 'TOKEN_FUNCTION';
const DESCENT = 'TOKEN_DDOT';

type Library = typeof import('json-p3');
type Filter = jsonpath.expressions.FilterExpression;

/** Loaded with the first expression: most configurations have none, and a start pays for what it loads. */
const library = (): Library => createRequire(import.meta.url)('json-p3');

function environmentOf({ JSONPathEnvironment }: Library) {
  const environment = new JSONPathEnvironment({ maxRecursionDepth: MAX_DEPTH + 2 });
  // Of the others some backtrack (match, search), and some walk over everything for each value (count).
  for (const name of environment.functionRegister.keys())
    if (name !== 'length') environment.functionRegister.delete(name);
  return environment;
}

/**
 * A JSONPath expression (RFC 9535) with bounds on what its evaluation can cost: one `..`, few alternatives, and filters
 * that look at single places below the value at hand and call no function but `length`.
 */
export class JsonPath {
  readonly #query: JSONPathQuery;

  private constructor(query: JSONPathQuery) {
    this.#query = query;
  }

  /** Refused with a sentence that begins with a verb and names the position of the mistake, counted from 1. */
  static compile(text: string): Result<JsonPath, string> {
    if (text.length > MAX_EXPRESSION)
      return refused(`is longer than ${MAX_EXPRESSION} characters: shorten it`);
    const loaded = library();
    let query: JSONPathQuery;
    try {
      query = environmentOf(loaded).compile(text);
    } catch (error) {
      if (error instanceof loaded.JSONPathError) return refused(syntaxFault(error));
      throw error;
    }
    const fault = costFault(query, loaded.jsonpath);
    return fault === undefined ? ok(new JsonPath(query)) : refused(fault);
  }

  /**
   * What the expression finds: the list of values, or of an expression for a single place that value itself.
   * Refused where the value is too large to be searched, or too much is found.
   */
  select(value: unknown): Result<{ found: number; value: unknown }, string> {
    if (!isSearchable(value))
      return refused(`it has more than ${MAX_VALUES} values or more than ${MAX_DEPTH} levels`);
    const found: unknown[] = [];
    for (const node of this.#query.lazyQuery(value as JSONValue)) {
      if (found.length === MAX_VALUES)
        return refused(`the expression finds more than ${MAX_VALUES} values in it`);
      found.push(node.value);
    }
    const isOne = this.#query.singularQuery() && found.length > 0;
    return ok({ found: found.length, value: isOne ? found[0] : found });
  }
}

/** Whether the fault of an expression is told, and where. */
function syntaxFault({ message, token }: JSONPathError): string {
  // The library ends its sentence with the expression and the position.
  const what = message.slice(0, message.lastIndexOf(" ('")).trim() || 'it ends too early';
  const only = token.kind === FUNCTION ? '; length() alone can be used here' : '';
  return `is no JSONPath (RFC 9535): ${what} at character ${token.index + 1}${only}: write one such as $.items[*].name`;
}

function costFault({ segments }: JSONPathQuery, library: Library['jsonpath']): string | undefined {
  let branches = 1;
  let descents = 0;
  for (const { selectors, token } of segments) {
    branches *= selectors.length;
    if (token.kind === DESCENT) descents += 1;
    if (descents > 1) return `has a second ".." at character ${token.index + 1}: keep one`;
    if (branches > MAX_BRANCHES)
      return `has too many alternatives from character ${token.index + 1} on: at most ${MAX_BRANCHES}, all lists multiplied`;
    for (const selector of selectors) {
      const fault =
        selector instanceof library.selectors.FilterSelector
          ? filterFault(selector.expression, library.expressions)
          : undefined;
      if (fault !== undefined) return fault;
    }
  }
  return undefined;
}

type Expressions = Library['jsonpath']['expressions'];

function filterFault(filter: Filter, kinds: Expressions): string | undefined {
  if (filter instanceof kinds.FilterQuery) {
    const at = filter.token.index + 1;
    // What does not change from value to value would be measured or compared anew for each.
    if (filter instanceof kinds.RootQuery)
      return `has a path from $ at character ${at}: a filter looks at @ alone`;
    if (filter.path.singularQuery()) return undefined;
    return `has a path at character ${at} that a filter cannot follow: names and numbers alone lead to one place, such as @.price`;
  }
  for (const part of partsOf(filter, kinds)) {
    const fault = filterFault(part, kinds);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function partsOf(filter: Filter, kinds: Expressions): readonly Filter[] {
  if (filter instanceof kinds.LogicalExpression) return [filter.expression];
  if (filter instanceof kinds.PrefixExpression) return [filter.right];
  if (filter instanceof kinds.InfixExpression) return [filter.left, filter.right];
  return filter instanceof kinds.FunctionExtension ? filter.args : [];
}

function isSearchable(value: unknown): boolean {
  let left = MAX_VALUES;
  const fits = (one: unknown, depth: number): boolean => {
    left -= 1;
    if (left < 0 || depth > MAX_DEPTH) return false;
    if (typeof one !== 'object' || one === null) return true;
    for (const child of Object.values(one)) if (!fits(child, depth + 1)) return false;
    return true;
  };
  return fits(value, 1);
}
