import { anyGlobMatches } from '../base/glob.ts';
import type { JsonPath } from './json-path.ts';
import type { Truncation } from './truncation.ts';

/** What becomes of the results of a tool before they go to a model; at least one of the three is there. */
export type ResultShape = {
  jsonPath: JsonPath | undefined;
  truncate: Truncation | undefined;
  /** Text beyond so many bytes of UTF-8 is kept here, and read in parts. */
  maxBytes: number | undefined;
};

/** The shape of results of the tools, by their server's own names, that one of the globs matches. */
export type ResultRule = ResultShape & { tools: readonly string[] };

/** The first rule for a tool, and the size that the project gives to those without one of their own. */
export function resultShape(
  rules: readonly ResultRule[],
  tool: string,
  projectMaxBytes: number | undefined,
): ResultShape | undefined {
  const rule = rules.find(({ tools }) => anyGlobMatches(tools, tool));
  const maxBytes = rule?.maxBytes ?? projectMaxBytes;
  if (!rule && maxBytes === undefined) return undefined;
  return { jsonPath: rule?.jsonPath, truncate: rule?.truncate, maxBytes };
}
