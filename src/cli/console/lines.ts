import { styleText } from 'node:util';
import { fit, widthOf } from './screen-text.ts';

export type Tone = 'plain' | 'dim' | 'bold' | 'good' | 'bad' | 'warn' | 'accent' | 'bar';
/** Text that is fit for the screen, with what it means. */
export type Span = { text: string; tone: Tone };
export type Line = readonly Span[];

type Style = Parameters<typeof styleText>[0];

const STYLES: Readonly<Record<Tone, Style | undefined>> = {
  plain: undefined,
  dim: 'dim',
  bold: 'bold',
  good: 'green',
  bad: 'red',
  warn: 'yellow',
  accent: 'cyan',
  bar: 'inverse',
};
/** NO_COLOR speaks of colours: what is selected and what is wrong still stands out. */
const STYLES_WITHOUT_COLOUR: typeof STYLES = {
  ...STYLES,
  dim: undefined,
  good: undefined,
  bad: 'bold',
  warn: undefined,
  accent: undefined,
};

export const span = (text: string, tone: Tone = 'plain'): Span => ({ text, tone });

/** One line of exactly `width` cells. */
export function padded(line: Line, width: number): Line {
  const spans: Span[] = [];
  let left = width;
  for (const { text, tone } of line) {
    if (left <= 0) break;
    const cells = widthOf(text);
    spans.push({ text: cells > left ? fit(text, left) : text, tone });
    left -= Math.min(cells, left);
  }
  if (left > 0) spans.push(span(' '.repeat(left)));
  return spans;
}

export const plainText = (line: Line): string => line.map(({ text }) => text).join('');

/** The line with its escape sequences; none but these ever reach the terminal as such. */
export function painted(line: Line, colours: boolean): string {
  const styles = colours ? STYLES : STYLES_WITHOUT_COLOUR;
  return line
    .map(({ text, tone }) => {
      const style = styles[tone];
      return style === undefined || text === '' ? text : styleText(style, text, { validateStream: false });
    })
    .join('');
}
