/** What of a ticket can be searched for: its words, the same on every database. */

const MAX_WORDS = 10_000;
const MAX_WORD = 40;
const MAX_TERMS = 12;

/** The different words of a text, folded so that case, accents and width do not matter. */
export function wordsOf(...texts: readonly string[]): Set<string> {
  const words = new Set<string>();
  for (const text of texts) {
    for (const [word] of folded(text).matchAll(/[\p{L}\p{N}]+/gu)) {
      words.add(word.slice(0, MAX_WORD));
      if (words.size >= MAX_WORDS) return words;
    }
  }
  return words;
}

/** `beginning`: a word that goes on counts too. */
export type Term = { word: string; beginning: boolean };

/** The terms of a query; none when it holds no word. */
export function termsOf(query: string): Term[] {
  return [...folded(query).matchAll(/([\p{L}\p{N}]+)(\*?)/gu)]
    .slice(0, MAX_TERMS)
    .map(([, word = '', star]) => ({ word: word.slice(0, MAX_WORD), beginning: star === '*' }));
}

function folded(text: string): string {
  return text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase();
}
