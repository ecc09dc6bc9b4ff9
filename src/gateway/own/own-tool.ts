import type { z } from 'zod';
import type { JsonObject } from '../../protocol/jsonrpc.ts';
import type { OWN_TOOLS } from '../../resources/builtin-toolsets.ts';
import type { GatewayRequest, Scope } from '../scope.ts';
import { definitionOf, type ToolDoc, type ToolsetAnswer } from '../toolset.ts';
import type { ViewPart } from '../view.ts';

/** The call of another tool that a call of one of our own really is. */
export type InnerCall = { name: string; arguments: JsonObject };

/**
 * A tool of Castellan's own, which belongs to no server. It needs no right and no policy is about it: whatever it
 * reaches is asked for there. What it lists and what it calls is what its caller could list and call without it.
 */
export type OwnTool = {
  name: (typeof OWN_TOOLS)[number];
  /** As lists show it. */
  definition: JsonObject;
  title: string;
  doc: ToolDoc;
  input: z.ZodObject;
  /** Undefined where its results may be those of other tools. */
  output?: z.ZodObject;
  readOnly: boolean;
  /** Whether the surface has it: elsewhere there is no tool of that name. */
  isOn(scope: Scope): boolean;
  /** Whether a surface that has it also lists it. */
  isListed(scope: Scope, parts: readonly ViewPart[]): boolean;
  /** Names of arguments that are as good as a credential: no audit shows them. */
  secret?: readonly string[];
  /** Whether these arguments change something, so that it is on record before. */
  changes?(args: JsonObject): boolean;
  /** The call that these arguments ask for, which goes the way of a direct one; undefined where `run` answers. */
  inner?(args: JsonObject): InnerCall | undefined;
  /** @param args what `input` has made of the caller's arguments */
  run(args: JsonObject, from: GatewayRequest): Promise<ToolsetAnswer>;
};

/** A tool whose functions get their arguments as the input schema types them. */
export function ownTool<Input extends z.ZodObject>(
  tool: Omit<OwnTool, 'definition' | 'input' | 'changes' | 'inner' | 'run'> & {
    input: Input;
    changes?(args: z.output<Input>): boolean;
    inner?(args: z.output<Input>): InnerCall | undefined;
    run(args: z.output<Input>, from: GatewayRequest): Promise<ToolsetAnswer>;
  },
): OwnTool {
  const { changes, inner, run, ...rest } = tool;
  return {
    ...rest,
    definition: definitionOf(tool),
    ...(changes && { changes: (args: JsonObject) => changes(args as z.output<Input>) }),
    ...(inner && { inner: (args: JsonObject) => inner(args as z.output<Input>) }),
    run: (args, from) => run(args as z.output<Input>, from),
  };
}
