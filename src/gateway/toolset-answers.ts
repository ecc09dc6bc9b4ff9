import type { JsonObject } from '../protocol/jsonrpc.ts';
import { fieldName, problemsOf } from '../resources/problems.ts';
import { asToolResult, toolRefused } from './refusals.ts';
import type { ToolsetAnswer, ToolsetTool } from './toolset.ts';

const MAX_TOLD = 5;

/** What the input schema of a built-in tool holds against its arguments, with an example of a call. */
export function argumentFault(
  tool: Pick<ToolsetTool, 'name' | 'input' | 'doc'>,
  given: unknown,
): ToolsetAnswer {
  const problems = problemsOf(tool.input, given, []);
  const told = problems.slice(0, MAX_TOLD).map(({ path, message }) => `${fieldName(path)} ${message}`);
  const field = fieldName(problems[0]!.path);
  const message = `${tool.name} was not run: ${told.join('; ')}. A call looks like ${JSON.stringify(tool.doc.example)}`;
  return { ok: false, code: 'INVALID_ARGUMENT', message, field };
}

/** The answer of a built-in tool as a client reads it. */
export function resultOf(answer: ToolsetAnswer, hasOutputSchema: boolean): JsonObject {
  if (!answer.ok)
    return asToolResult(toolRefused(answer.code, answer.message, answer.field), hasOutputSchema);
  if ('texts' in answer) return { content: answer.texts.map((text) => ({ type: 'text', text })) };
  const text = answer.text ?? JSON.stringify(answer.structured);
  const failed = answer.isError ? { isError: true } : {};
  return { content: [{ type: 'text', text }], structuredContent: answer.structured, ...failed };
}
