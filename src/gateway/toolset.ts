import { z } from 'zod';
import type { Cancellation } from '../base/cancellation.ts';
import type { AuthenticatedCaller } from '../identity/caller.ts';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import type { Watcher, WatchLease } from '../upstream/watch.ts';
import type { ToolRefusalCode } from './refusals.ts';
import type { Scope } from './scope.ts';

/** A call of a built-in tool by somebody who may run it; whether they have the domain's right the tool asks itself. */
export type ToolsetCall = {
  caller: AuthenticatedCaller;
  scope: Scope;
  cancellation: Cancellation;
  /** Id of the row of the audit that announced the call; undefined for a tool that only reads. */
  intent: string | undefined;
};

/**
 * `structured` fits the tool's output schema and has a `message`, one sentence. `text` is what models read when that is
 * not the JSON of it; `isError`: it was done, and failed. `texts` alone is the answer of a tool without output schema.
 * A refusal names the field and the fix.
 */
export type ToolsetAnswer =
  | { ok: true; structured: { message: string } & JsonObject; text?: string; isError?: boolean }
  | { ok: true; texts: readonly string[] }
  | { ok: false; code: ToolRefusalCode; message: string; field?: string };

/** What a tool says of itself, each part a sentence or two without a full stop at the end. */
export type ToolDoc = {
  does: string;
  /** When to use it. */
  when: string;
  /** Arguments of a real call: they pass the input schema. */
  example: JsonObject;
  returns: string;
  /** What to call after it. */
  next: string;
  /** Which ids and cursors it accepts and where they come from. */
  ids: string;
};

export type ToolsetTool = {
  name: string;
  title: string;
  doc: ToolDoc;
  input: z.ZodObject;
  output: z.ZodObject;
  readOnly: boolean;
  /** @param args what `input` has made of the caller's arguments */
  run(args: JsonObject, call: ToolsetCall): Promise<ToolsetAnswer>;
};

/** Resources that a toolset has beside its tools. */
export type ToolsetResources = {
  /** As `resources/templates/list` shows them. */
  templates: readonly JsonObject[];
  /** Undefined: there is none, or none that this caller may see. */
  read(from: Reader, uri: string): Promise<JsonObject[] | undefined>;
  /** Tells of changes for as long as the reader may see it. Undefined: there is nothing to tell of. */
  watch(from: LiveReader, uri: string, watcher: Watcher): WatchLease | undefined;
};

export type Reader = { caller: AuthenticatedCaller; scope: Scope };
export type LiveReader = { caller: AuthenticatedCaller; scope(): Scope };

export type Toolset = {
  name: string;
  /** What the model is told of the toolset as a whole. */
  instructions: string;
  tools: readonly ToolsetTool[];
  resources?: ToolsetResources;
};

/** A tool whose `run` gets its arguments as the input schema types them. */
export function toolsetTool<Input extends z.ZodObject>(
  tool: Omit<ToolsetTool, 'input' | 'run'> & {
    input: Input;
    run(args: z.output<Input>, call: ToolsetCall): Promise<ToolsetAnswer>;
  },
): ToolsetTool {
  return { ...tool, run: (args, call) => tool.run(args as z.output<Input>, call) };
}

type Described = Pick<ToolsetTool, 'name' | 'title' | 'doc' | 'input' | 'readOnly'> & {
  output?: z.ZodObject;
};

/** The tool as `tools/list` shows it. */
export function definitionOf({ name, title, doc, input, output, readOnly }: Described): JsonObject {
  const { does, when, example, returns, next, ids } = doc;
  const description = [
    `${does}.`,
    `When: ${when}.`,
    `Example: ${JSON.stringify(example)}`,
    `Returns: ${returns}.`,
    `Next: ${next}.`,
    `Ids: ${ids}.`,
  ].join('\n');
  return {
    name,
    title,
    description,
    inputSchema: jsonSchema(input, 'input'),
    ...(output && { outputSchema: jsonSchema(output, 'output') }),
    annotations: { readOnlyHint: readOnly, openWorldHint: false },
  };
}

function jsonSchema(schema: z.ZodObject, io: 'input' | 'output'): JsonObject {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io }) as JsonObject;
  return rest;
}
