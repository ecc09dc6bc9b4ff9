/**
 * Matches `*` (any run of characters) and `?` (one character); everything else stands for itself. Linear in
 * pattern × text, so that no pattern can make it slow.
 */
export function globMatches(pattern: string, text: string): boolean {
  let at = 0;
  let patternAt = 0;
  let star = -1;
  let resume = 0;
  while (at < text.length) {
    const wanted = pattern[patternAt];
    if (wanted === '*') {
      star = patternAt;
      resume = at;
      patternAt += 1;
    } else if (wanted === '?' || wanted === text[at]) {
      patternAt += 1;
      at += 1;
    } else if (star >= 0) {
      patternAt = star + 1;
      resume += 1;
      at = resume;
    } else {
      return false;
    }
  }
  while (pattern[patternAt] === '*') patternAt += 1;
  return patternAt === pattern.length;
}

export function anyGlobMatches(patterns: readonly string[], text: string): boolean {
  return patterns.some((pattern) => globMatches(pattern, text));
}

/** Whether `pattern` matches everything that begins with `prefix`. */
export function globCoversPrefix(pattern: string, prefix: string): boolean {
  return pattern.endsWith('*') && globMatches(pattern, prefix);
}

/** Whether `pattern` matches anything that begins with `prefix`. */
export function globMeetsPrefix(pattern: string, prefix: string): boolean {
  for (let length = 0; length <= pattern.length; length++) {
    if (globMatches(pattern.slice(0, length), prefix)) return true;
  }
  return false;
}

/** Whether `pattern` surely matches everything that `other` matches; false also where that is hard to tell. */
export function globCovers(pattern: string, other: string): boolean {
  if (pattern === other || pattern === '*') return true;
  const wildcard = other.search(/[*?]/);
  return wildcard < 0 ? globMatches(pattern, other) : globCoversPrefix(pattern, other.slice(0, wildcard));
}
