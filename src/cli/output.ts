import Table from 'cli-table3';
import { type Command, Option } from 'commander';
import { stringify } from 'yaml';
import { cleanLine, type Terminal } from './terminal.ts';

export type OutputFormat = 'table' | 'wide' | 'json' | 'yaml' | 'name';

export type Column<Item> = {
  title: string;
  value: (item: Item) => string | number | undefined;
  /** Shown by `-o wide` alone. */
  wide?: boolean;
};

/** How one kind of item is printed in each format. */
export type Printing<Item> = {
  columns: readonly Column<Item>[];
  /** `server/github`, for `-o name`. */
  nameOf: (item: Item) => string;
  /** What `-o yaml` prints of an item; the item itself without it. */
  yamlOf?: (item: Item) => unknown;
  /** Said on stderr instead of an empty table. */
  none: string;
};

/** Adds `-o`; with `null` the verb decides what no `-o` means. */
export function withOutput(command: Command, fallback: OutputFormat | null = 'table'): Command {
  const formats: OutputFormat[] = ['table', 'wide', 'json', 'yaml', 'name'];
  const option = new Option('-o, --output <format>', 'how to print').choices(formats);
  return command.addOption(fallback === null ? option : option.default(fallback));
}

/** Prints a list; `-o json` is `{"items": […]}` and `-o yaml` a document each, which `apply` takes back. */
export function printItems<Item>(
  terminal: Terminal,
  format: OutputFormat,
  items: readonly Item[],
  printing: Printing<Item>,
  extra: Readonly<Record<string, unknown>> = {},
): void {
  switch (format) {
    case 'json':
      terminal.data(JSON.stringify({ items, ...extra }, null, 2));
      break;
    case 'yaml':
      if (items.length > 0)
        terminal.data(items.map((item) => toYaml(printing.yamlOf?.(item) ?? item)).join('---\n'));
      break;
    case 'name':
      for (const item of items) terminal.line(printing.nameOf(item));
      break;
    default:
      if (items.length === 0) terminal.note(printing.none);
      else terminal.styledLine(tableOf(format, items, printing, terminal));
  }
}

/** Prints one item; `-o json` is the item itself. */
export function printItem<Item>(
  terminal: Terminal,
  format: OutputFormat,
  item: Item,
  printing: Printing<Item>,
): void {
  if (format === 'json') terminal.data(JSON.stringify(item, null, 2));
  else printItems(terminal, format, [item], printing);
}

export type MadeFormat = 'text' | 'json' | 'yaml';

/** Adds the `-o` of verbs that make a secret: alone on stdout, or with all that was answered. */
export function withMadeOutput(command: Command): Command {
  const option = new Option(
    '-o, --output <format>',
    'text: the secret alone; json, yaml: all that was answered',
  );
  return command.addOption(option.choices(['text', 'json', 'yaml']).default('text'));
}

/** Prints what was made, whose secret is seen this once. */
export function printMade(
  terminal: Terminal,
  format: MadeFormat,
  answer: Readonly<Record<string, unknown>>,
  secret: string,
): void {
  if (format === 'json') terminal.data(JSON.stringify(answer, null, 2));
  else terminal.data(format === 'yaml' ? toYaml(answer) : String(answer[secret]));
}

export function toYaml(value: unknown): string {
  return stringify(value, { lineWidth: 0, aliasDuplicateObjects: false });
}

/** The titles and the cells of items as they stand in a table. */
export function cellsOf<Item>(
  format: OutputFormat,
  items: readonly Item[],
  printing: Printing<Item>,
): { titles: string[]; rows: string[][] } {
  const columns = printing.columns.filter((column) => format === 'wide' || !column.wide);
  return {
    titles: columns.map(({ title }) => title),
    rows: items.map((item) =>
      columns.map((column) => cleanLine(String(column.value(item) ?? '-'), 120) || '-'),
    ),
  };
}

const PLAIN_CHARS = Object.fromEntries(
  ['top', 'bottom', 'left', 'right', 'mid'].flatMap((edge) =>
    ['', '-mid', '-left', '-right'].map((part) => [edge + part, '']),
  ),
);

function tableOf<Item>(
  format: OutputFormat,
  items: readonly Item[],
  printing: Printing<Item>,
  terminal: Terminal,
): string {
  const { titles, rows } = cellsOf(format, items, printing);
  const table = new Table({
    head: titles.map((title) => terminal.styled('bold', title)),
    chars: { ...PLAIN_CHARS, middle: '   ' },
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  });
  table.push(...rows);
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}

/** `3m`, `4h`, `12d` since an ISO 8601 time; `-` when there is none. */
export function ageOf(time: unknown, now: number = Date.now()): string {
  const since = typeof time === 'string' ? Date.parse(time) : Number.NaN;
  if (Number.isNaN(since)) return '-';
  const seconds = Math.max(0, Math.round((now - since) / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)}m`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)}h` : `${Math.round(seconds / 86_400)}d`;
}
