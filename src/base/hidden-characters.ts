/** What a reader does not see, or sees elsewhere than it stands: controls, formats (bidirectional, zero-width), others. */
const HIDDEN =
  /\p{Cc}|\p{Cf}|\p{Co}|\p{Cn}|\p{Cs}|\p{Zl}|\p{Zp}|\p{Default_Ignorable_Code_Point}|\u2800|(?! )\p{Zs}/gu;
const HIDDEN_IN_LINE = new RegExp(`(?!\\n)(?:${HIDDEN.source})`, 'gu');

/** A piece of text that is as it looks, or one character that would not be seen, by its name: `U+202E`. */
export type TextPart = { text: string } | { hidden: string };

/** Takes a text apart so that nothing in it stays unseen; line ends and plain spaces are text. */
export function textParts(text: string): TextPart[] {
  const parts: TextPart[] = [];
  let from = 0;
  for (const { 0: found, index } of text.matchAll(HIDDEN)) {
    if (found === '\n') continue;
    if (index > from) parts.push({ text: text.slice(from, index) });
    parts.push({ hidden: nameOf(found) });
    from = index + found.length;
  }
  if (from < text.length) parts.push({ text: text.slice(from) });
  return parts;
}

/** The same on one string, for where there is only text. */
export function withHiddenShown(text: string): string {
  return textParts(text)
    .map((part) => ('text' in part ? part.text : `‹${part.hidden}›`))
    .join('');
}

/** The names of the first characters of a text that would not be seen, at most so many. */
export function hiddenIn(text: string, most: number): string[] {
  const names: string[] = [];
  for (const { 0: found } of text.matchAll(HIDDEN)) {
    if (found === '\n') continue;
    if (names.push(nameOf(found)) >= most) break;
  }
  return names;
}

/** The text without what would not be seen; line ends stay. */
export function withoutHidden(text: string): string {
  return text.replace(HIDDEN_IN_LINE, '');
}

function nameOf(character: string): string {
  return `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`;
}
