/** Beyond this many pairs of lines the middle is shown as removed and added as a whole. */
const MAX_PAIRS = 4_000_000;
const CONTEXT = 3;

type Line = { mark: ' ' | '-' | '+'; text: string };

/** The unified diff of two texts, with three lines of context; empty when they are the same. */
export function unifiedDiff(before: string, after: string, names: { before: string; after: string }): string {
  if (before === after) return '';
  const lines = diffLines(linesOf(before), linesOf(after));
  const hunks = hunksOf(lines).map(([start, end]) => hunkText(lines, start, end));
  return [`--- ${names.before}`, `+++ ${names.after}`, ...hunks].join('\n');
}

function linesOf(text: string): string[] {
  return text === '' ? [] : text.replace(/\n$/, '').split('\n');
}

function diffLines(before: readonly string[], after: readonly string[]): Line[] {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start += 1;
  let end = 0;
  const most = Math.min(before.length, after.length) - start;
  while (end < most && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  const same = (text: string): Line => ({ mark: ' ', text });
  return [
    ...before.slice(0, start).map(same),
    ...middle(before.slice(start, before.length - end), after.slice(start, after.length - end)),
    ...before.slice(before.length - end).map(same),
  ];
}

/** The longest common subsequence decides what stays. */
function middle(before: readonly string[], after: readonly string[]): Line[] {
  const removed = (text: string): Line => ({ mark: '-', text });
  const added = (text: string): Line => ({ mark: '+', text });
  if (before.length * after.length > MAX_PAIRS) return [...before.map(removed), ...after.map(added)];
  const width = after.length + 1;
  const common = new Uint32Array((before.length + 1) * width);
  const at = (row: number, column: number) => common[row * width + column]!;
  for (let row = before.length - 1; row >= 0; row--) {
    for (let column = after.length - 1; column >= 0; column--) {
      common[row * width + column] =
        before[row] === after[column]
          ? at(row + 1, column + 1) + 1
          : Math.max(at(row + 1, column), at(row, column + 1));
    }
  }
  const lines: Line[] = [];
  let row = 0;
  let column = 0;
  while (row < before.length || column < after.length) {
    if (row < before.length && column < after.length && before[row] === after[column]) {
      lines.push({ mark: ' ', text: before[row]! });
      row += 1;
      column += 1;
    } else if (
      column >= after.length ||
      (row < before.length && at(row + 1, column) >= at(row, column + 1))
    ) {
      lines.push(removed(before[row]!));
      row += 1;
    } else {
      lines.push(added(after[column]!));
      column += 1;
    }
  }
  return lines;
}

/** Stretches of changed lines with their context, overlapping ones joined. */
function hunksOf(lines: readonly Line[]): [start: number, end: number][] {
  const hunks: [number, number][] = [];
  for (const [index, { mark }] of lines.entries()) {
    if (mark === ' ') continue;
    const start = Math.max(0, index - CONTEXT);
    const end = Math.min(lines.length, index + CONTEXT + 1);
    const last = hunks.at(-1);
    if (last && start <= last[1]) last[1] = end;
    else hunks.push([start, end]);
  }
  return hunks;
}

function hunkText(lines: readonly Line[], start: number, end: number): string {
  const count = (part: readonly Line[], mark: '-' | '+') =>
    part.filter((line) => line.mark === ' ' || line.mark === mark).length;
  const earlier = lines.slice(0, start);
  const hunk = lines.slice(start, end);
  const range = (mark: '-' | '+') => {
    const length = count(hunk, mark);
    // Nothing is counted from the line before it.
    return `${mark}${count(earlier, mark) + (length === 0 ? 0 : 1)},${length}`;
  };
  return [`@@ ${range('-')} ${range('+')} @@`, ...hunk.map(({ mark, text }) => mark + text)].join('\n');
}
