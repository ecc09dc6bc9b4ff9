import { ok, type Result, refused } from '../../base/result.ts';
import type { Code } from './code.ts';
import { isWithin } from './code-paths.ts';

export type LineQuery = {
  pattern: string;
  /** POSIX extended; else the text as it is. */
  isRegex?: boolean;
  ignoreCase?: boolean;
  /** Whole words alone. */
  isWord?: boolean;
  /** Folder or file to look in. */
  path: string;
};

export type LineHit = { path: string; line: number; text: string };

const MAX_LINE = 64 * 1024;

/**
 * Lines that match, in the order of paths and lines; files that are binary, hidden, or behind a link that leads out are
 * left out.
 * @param wants is asked of each hit: `skip` leaves it out, `end` leaves it out and ends the search
 */
export async function searchLines(
  code: Code,
  query: LineQuery,
  wants: (hit: LineHit) => 'take' | 'skip' | 'end',
): Promise<Result<{ hits: LineHit[]; ended: boolean }, string>> {
  const { at } = code;
  const hits: LineHit[] = [];
  let ended = false;
  let rest: Buffer = Buffer.alloc(0);
  /** Whether the line is known already whose end is still to come. */
  let isWithinLine = false;
  const enough = (chunk: Buffer): boolean => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let from = 0;
    for (;;) {
      if (isWithinLine) {
        const end = rest.indexOf(10, from);
        isWithinLine = end < 0;
        from = end < 0 ? rest.length : end + 1;
      }
      const record = recordAt(rest, from);
      if (!record) {
        rest = rest.subarray(from);
        return false;
      }
      from = record.end;
      isWithinLine = !record.isWhole;
      const path = at.isWorktree ? record.path : record.path.slice(at.commit!.length + 1);
      if (code.isHidden(path) || !isWithin(path, query.path)) continue;
      const hit = { path, line: record.line, text: record.text };
      const wanted = wants(hit);
      if (wanted === 'end') {
        ended = true;
        return true;
      }
      if (wanted === 'take') hits.push(hit);
    }
  };
  const outcome = await code.git({ args: grepArguments(code, query), codes: [0, 1], enough });
  if (!outcome.ok) {
    const hint = query.isRegex ? '; or it is no POSIX extended expression' : '';
    return refused(`cannot be looked for: ${outcome.why}${hint}`);
  }
  const confined = new Map<string, boolean>();
  for (const { path } of hits) if (!confined.has(path)) confined.set(path, await code.isConfined(path));
  return ok({ hits: hits.filter(({ path }) => confined.get(path)), ended: ended || outcome.truncated });
}

function grepArguments({ at }: Code, { pattern, isRegex, ignoreCase, isWord, path }: LineQuery): string[] {
  return [
    ...['grep', '-I', '-n', '-z', '--full-name', '--no-color', '--no-textconv', '--no-recurse-submodules'],
    isRegex ? '-E' : '-F',
    ...(ignoreCase ? ['-i'] : []),
    ...(isWord ? ['-w'] : []),
    ...['-e', pattern],
    ...(at.isWorktree ? [] : [at.commit!]),
    '--',
    ...(path === '' ? [] : [path]),
  ];
}

/** `path NUL line NUL text LF`; undefined while not enough of it is there. */
function recordAt(buffer: Buffer, from: number) {
  const first = buffer.indexOf(0, from);
  const second = first < 0 ? -1 : buffer.indexOf(0, first + 1);
  const found = second < 0 ? -1 : buffer.indexOf(10, second + 1);
  const isLong = second >= 0 && buffer.length - second > MAX_LINE;
  if (found < 0 && !isLong) return undefined;
  const end = found < 0 ? buffer.length : found;
  return {
    path: buffer.toString('utf8', from, first),
    line: Number(buffer.toString('latin1', first + 1, second)),
    text: buffer.toString('utf8', second + 1, Math.min(end, second + 1 + MAX_LINE)).replace(/\r$/, ''),
    end: found < 0 ? end : end + 1,
    isWhole: found >= 0,
  };
}
