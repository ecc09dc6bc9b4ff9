/** Characters that drive a terminal, hide, reorder their neighbours, or have no width that terminals agree on. */
const ODD =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Me}\p{Default_Ignorable_Code_Point}\p{Regional_Indicator}\p{Emoji_Modifier}\u1160-\u11ff\ud7b0-\ud7ff]/gu;
/** Marks that stand on nothing, and those above the second on one letter. */
const STACKED = /(^|[ \n])(\p{M}+)|(\p{M}{2})(\p{M}+)/gu;
/** What terminals draw two cells wide. */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe10-\ufe19\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{16fe0}-\u{18dff}\u{1aff0}-\u{1b2ff}\u{20000}-\u{3fffd}\p{Emoji_Presentation}]/u;
const WIDTHLESS = /\p{Mn}/u;

const MAX_TEXT = 8_192;

/**
 * A stranger's text on one line, as it may stand on the screen. What drives a terminal or hides is written out
 * (`\u001b`) rather than left out: two names that differ must not look the same in an audit.
 */
export function shown(text: string): string {
  return text
    .slice(0, MAX_TEXT)
    .normalize('NFC')
    .replace(/\p{Zs}|[\t\n]/gu, ' ')
    .replace(ODD, escaped)
    .replace(
      STACKED,
      (_, before = '', lone = '', two = '', more = '') => `${before}${two}${each(lone + more)}`,
    );
}

const each = (text: string): string => [...text].map(escaped).join('');

function escaped(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  const digits = code.toString(16);
  return code > 0xffff ? `\\u{${digits}}` : `\\u${digits.padStart(4, '0')}`;
}

/** Cells that shown text takes. */
export function widthOf(text: string): number {
  let width = 0;
  for (const character of text) width += cellsOf(character);
  return width;
}

function cellsOf(character: string): number {
  if (character <= '~') return 1;
  if (WIDTHLESS.test(character)) return 0;
  return WIDE.test(character) ? 2 : 1;
}

/** Exactly `width` cells: cut with an ellipsis, or filled with spaces. Takes shown text. */
export function fit(text: string, width: number): string {
  if (width <= 0) return '';
  const [head, rest] = split(text, width);
  if (rest === '') return head + ' '.repeat(width - widthOf(head));
  const [cut] = split(text, width - 1);
  return `${cut}…${' '.repeat(width - 1 - widthOf(cut))}`;
}

/** Lines of at most `width` cells. Takes shown text. */
export function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let rest = text;
  do {
    const [head, tail] = split(rest, Math.max(2, width));
    lines.push(head);
    rest = tail;
  } while (rest !== '');
  return lines;
}

function split(text: string, width: number): [string, string] {
  let cells = 0;
  let end = 0;
  for (const character of text) {
    cells += cellsOf(character);
    if (cells > width) break;
    end += character.length;
  }
  return [text.slice(0, end), text.slice(end)];
}
