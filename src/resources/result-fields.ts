import { z } from 'zod';
import { JsonPath } from '../results/json-path.ts';
import type { ResultRule } from '../results/result-rules.ts';
import { keysOnly, textThat } from './problems.ts';
import { quantityFault, size } from './quantities.ts';

type Text = (fault: (value: string) => string | undefined) => z.ZodString;

const sizeFault = (value: string) => quantityFault(size, value, '1KiB', '1GiB');

/** How much text of a result goes to a model at once. */
export const RESULT_BYTES = textThat(sizeFault).optional();

/** Of text that has passed `RESULT_BYTES`. */
export function resultBytes(written: string | undefined): number | undefined {
  return written === undefined ? undefined : size.parse(written);
}

/** An entry of `Server.spec.tools.results`; `text` makes a field of text with a rule. */
export function resultRule(text: Text) {
  return keysOnly({
    tools: z.array(text(globFault)).min(1).max(100),
    jsonPath: text(jsonPathFault).optional(),
    truncate: keysOnly({
      items: z.int().min(1).max(1_000_000).optional(),
      characters: z.int().min(10).max(10_000_000).optional(),
    })
      .refine(({ items, characters }) => items !== undefined || characters !== undefined, {
        error: 'cuts nothing: add items or characters',
      })
      .optional(),
    maxBytes: text(sizeFault).optional(),
  }).refine(({ jsonPath, truncate, maxBytes }) => jsonPath ?? truncate ?? maxBytes, {
    error: 'changes nothing: add jsonPath, truncate or maxBytes',
  });
}

type WrittenRule = z.infer<ReturnType<typeof resultRule>>;

/** The rules as they are applied; `written` has passed `resultRule`, every `${…}` in it replaced. */
export function resultRules(written: readonly WrittenRule[]): ResultRule[] {
  return written.map(({ tools, jsonPath, truncate, maxBytes }) => ({
    tools,
    jsonPath: jsonPath === undefined ? undefined : compiled(jsonPath),
    truncate: truncate && { items: truncate.items, characters: truncate.characters },
    maxBytes: resultBytes(maxBytes),
  }));
}

function compiled(jsonPath: string): JsonPath {
  const path = JsonPath.compile(jsonPath);
  if (!path.ok) throw new Error('a JSONPath reached this place unchecked');
  return path.value;
}

function jsonPathFault(value: string): string | undefined {
  const path = JsonPath.compile(value);
  return path.ok ? undefined : path.error;
}

function globFault(value: string): string | undefined {
  if (value === '') return 'is empty: write a tool name or a pattern such as get_*';
  return value.length > 256 ? 'is longer than 256 characters: shorten it' : undefined;
}
