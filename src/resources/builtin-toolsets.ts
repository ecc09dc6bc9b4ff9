import type { Surface } from './spec.ts';

/**
 * What `Server.spec.builtin` may name: the surface that each toolset is on, and its tools. A start fails when a
 * registered toolset has a tool that stands here on no surface or on both.
 */
export const BUILTIN_TOOLSETS: ReadonlyMap<string, { surface: Surface; tools: readonly string[] }> =
  new Map();
