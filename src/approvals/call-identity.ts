import { canonicalJson } from '../base/canonical-json.ts';
import { sha256Hex } from '../base/ids.ts';
import type { HeldCall } from './approval.ts';

/** SHA-256 of what is asked and who asks it, hex: calls of one identity share one approval. */
export function identityOf(call: Pick<HeldCall, 'project' | 'server' | 'tool' | 'arguments' | 'requester'>) {
  const { project, server, tool, arguments: args, requester } = call;
  const { principal, ownerUid } = requester;
  return sha256Hex(canonicalJson([project.uid, server, tool, args, principal, ownerUid]));
}

/**
 * The first number of a JSON text that a double cannot carry: what was asked and what would be sent were not the same.
 * Takes a text that was parsed before.
 */
export function inexactNumber(text: string): string | undefined {
  let found: string | undefined;
  const look = (_: string, value: unknown, { source }: { source?: string }): unknown => {
    if (typeof value === 'number' && source !== undefined && decimal(source) !== decimal(String(value)))
      found ??= source;
    return value;
  };
  JSON.parse(text, look as (key: string, value: unknown) => unknown);
  return found;
}

/** One spelling a number: its significant digits and the power of ten behind them. */
function decimal(text: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(text) ?? [];
  const digits = `${whole}${fraction}`.replace(/^0+/, '');
  const kept = digits.replace(/0+$/, '');
  if (whole === '') return text;
  if (kept === '') return '0';
  return `${sign}${kept}e${Number(exponent) - fraction.length + digits.length - kept.length}`;
}
