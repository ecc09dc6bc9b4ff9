export type LineChange = { line: string; was: boolean; is: boolean };

/** Longer texts are shown one after the other. */
const MAX_LINES = 1_500;

/** Two texts as one: the lines of both in order, and of each line whether the text had it and has it. */
export function lineChanges(before: string, now: string): LineChange[] {
  const [old, fresh] = [before.split('\n'), now.split('\n')];
  const apart = () => [
    ...old.map((line) => ({ line, was: true, is: false })),
    ...fresh.map((line) => ({ line, was: false, is: true })),
  ];
  if (old.length > MAX_LINES || fresh.length > MAX_LINES) return apart();
  const common = commonTails(old, fresh);
  const lines: LineChange[] = [];
  let [a, b] = [0, 0];
  while (a < old.length || b < fresh.length) {
    if (a < old.length && old[a] === fresh[b]) {
      lines.push({ line: old[a]!, was: true, is: true });
      a += 1;
      b += 1;
    } else if (a < old.length && (b >= fresh.length || common[a + 1]![b]! >= common[a]![b + 1]!)) {
      lines.push({ line: old[a]!, was: true, is: false });
      a += 1;
    } else {
      lines.push({ line: fresh[b]!, was: false, is: true });
      b += 1;
    }
  }
  return lines;
}

/** At [a][b]: how many lines the rests from a and from b have in common, in order. */
function commonTails(old: readonly string[], fresh: readonly string[]): Uint16Array[] {
  const rows = Array.from({ length: old.length + 1 }, () => new Uint16Array(fresh.length + 1));
  for (let a = old.length - 1; a >= 0; a -= 1) {
    for (let b = fresh.length - 1; b >= 0; b -= 1) {
      rows[a]![b] =
        old[a] === fresh[b] ? rows[a + 1]![b + 1]! + 1 : Math.max(rows[a + 1]![b]!, rows[a]![b + 1]!);
    }
  }
  return rows;
}
