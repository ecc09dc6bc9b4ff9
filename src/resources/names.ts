/** Sixty-four less `mcp__`, a project, `__` twice and a useful tool name leaves about this much for a server. */
const MAX_NAME = 40;

/**
 * Why `name` cannot name a server or a project; undefined when it can. `__` is the separator of canonical tool names,
 * so a name that holds it, or ends in `_`, could not be told from the tool's own name.
 */
export function nameFault(name: unknown): string | undefined {
  if (typeof name !== 'string' || name === '') return 'is required: give it a name such as "github"';
  if (name.length > MAX_NAME) return `is ${name.length} characters long: use at most ${MAX_NAME}`;
  if (!/^[a-z0-9][a-z0-9._-]*$/.test(name)) {
    return `"${printable(name)}" is not a valid name: use lower-case letters, digits, "-", "_" and ".", starting with a letter or digit`;
  }
  if (name.includes('__'))
    return `"${name}" contains "__", which separates server and tool: use a single "_"`;
  if (name.endsWith('_')) return `"${name}" ends with "_": end it with a letter or digit`;
  return undefined;
}

const TOKEN_NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;

/** Why `name` cannot name a token in its project; undefined when it can. */
export function tokenNameFault(name: unknown): string | undefined {
  if (typeof name !== 'string' || name === '') return 'is required: give it a name such as "laptop"';
  if (TOKEN_NAME.test(name)) return undefined;
  return `"${printable(name)}" is no token name; use at most 63 letters, digits, ".", "_" or "-", a letter or digit first and last`;
}

/**
 * A valid name for what another client calls `label` ("GitHub MCP" becomes "github-mcp"); undefined when nothing of it
 * can be kept.
 */
export function nameFromLabel(label: string): string | undefined {
  const name = label
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, '-')
    .replace(/_{2,}/g, '_')
    .replace(/^[^a-z0-9]+/, '')
    .slice(0, MAX_NAME)
    .replace(/[^a-z0-9]+$/, '');
  return nameFault(name) === undefined ? name : undefined;
}

/** The candidate closest to a mistyped word, if one is close enough to be meant. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  const wanted = word.toLowerCase().slice(0, 64);
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(wanted.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(wanted, candidate.toLowerCase().slice(0, 64));
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Insertions, deletions, substitutions and swaps of neighbours that lead from `a` to `b`. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = isSwap ? before[j - 2]! + 1 : substitution;
      next.push(Math.min(substitution, swap, row[j]! + 1, next[j - 1]! + 1));
    }
    before = row;
    row = next;
  }
  return row[b.length]!;
}

/** Text from a file, cut and without control characters, fit to be quoted in a message. */
export function printable(text: string): string {
  const clean = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '?');
  return clean.length > 60 ? `${clean.slice(0, 57)}...` : clean;
}
