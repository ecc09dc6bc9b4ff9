import { asMessage, type JsonObject } from './jsonrpc.ts';
import type { Written } from './model.ts';

/** Head and tail around the result, as nearly every server writes them. */
const RESULT_LAST = '{"jsonrpc":"2.0","id":';
const RESULT_KEY = ',"result":';
const RESULT_FIRST = '{"result":';
const TAIL = ',"jsonrpc":"2.0","id":';
/** Ids of ours are counted up from 1 and are far shorter. */
const MAX_DIGITS = 15;

/**
 * Cuts the text of a result out of an answer whose envelope is written without a space, the result last or first, and
 * whose id is a number. Undefined: it is written otherwise, or is no such answer; parse it whole.
 *
 * When the cut-out text is one JSON object, the envelope is exactly the one that was recognised: nothing in it can be
 * named twice, so the text may go to a client under another id without being written again.
 */
function cutResult(text: string): { id: number; result: string } | undefined {
  if (text.startsWith(RESULT_LAST)) {
    const end = endOfNumber(text, RESULT_LAST.length);
    if (end < 0 || !text.startsWith(RESULT_KEY, end)) return undefined;
    const id = Number(text.slice(RESULT_LAST.length, end));
    return objectText(id, text.slice(end + RESULT_KEY.length, -1), text);
  }
  if (!text.startsWith(RESULT_FIRST)) return undefined;
  const tail = text.lastIndexOf(TAIL);
  if (tail < 0 || endOfNumber(text, tail + TAIL.length) !== text.length - 1) return undefined;
  const id = Number(text.slice(tail + TAIL.length, -1));
  return objectText(id, text.slice(RESULT_FIRST.length, tail), text);
}

const OPEN = 123;
const CLOSE = 125;

function objectText(id: number, result: string, text: string): { id: number; result: string } | undefined {
  const whole =
    text.charCodeAt(text.length - 1) === CLOSE &&
    result.charCodeAt(0) === OPEN &&
    result.charCodeAt(result.length - 1) === CLOSE;
  // A line break between tokens is JSON, and would end the line of an event stream.
  return whole && !result.includes('\n') && !result.includes('\r') ? { id, result } : undefined;
}

/**
 * One JSON-RPC message, or undefined for anything else. `written` is there when the answer's result may travel on as
 * its server wrote it.
 */
export function parseMessage(
  text: string,
): (ReturnType<typeof asMessage> & { written?: Written | undefined }) | undefined {
  // Log lines are what a stdio server's output is strewn with; an exception for each would make a flood expensive.
  if (text.charCodeAt(0) !== OPEN && !text.trimStart().startsWith('{')) return undefined;
  const cut = cutResult(text);
  try {
    if (cut) {
      const result = JSON.parse(cut.result) as JsonObject;
      const message = { jsonrpc: '2.0', id: cut.id, result } as const;
      return { kind: 'response', message, written: { result, text: cut.result } };
    }
  } catch {
    // Something follows the result: read it as a whole.
  }
  try {
    return asMessage(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** Index after the digits that begin at `start`; -1 when they are no number as JSON writes a whole one. */
function endOfNumber(text: string, start: number): number {
  let at = start;
  while (at - start <= MAX_DIGITS && isDigit(text.charCodeAt(at))) at += 1;
  const digits = at - start;
  const zeroFirst = digits > 1 && text.charCodeAt(start) === 48;
  return digits === 0 || digits > MAX_DIGITS || zeroFirst ? -1 : at;
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}
