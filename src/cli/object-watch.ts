import { isDeepStrictEqual } from 'node:util';
import { cellsOf, type OutputFormat, type Printing, toYaml } from './output.ts';
import { type AnyObject, printingOf } from './printings.ts';
import { type ServerClient, ServerRefusal } from './server-client.ts';
import type { StoredKind } from './targets.ts';
import type { Terminal } from './terminal.ts';

type Query = Readonly<Record<string, string | undefined>>;
type Change<Item> = { type: 'ADDED' | 'MODIFIED' | 'DELETED'; object: Item };

const AGAIN_MS = 1_000;
const LOOK_EVERY_MS = 2_000;

/**
 * Prints the objects of a kind, and then each change of one: a line in a table, an object a line as JSON, a document
 * as YAML. It goes on until it is stopped, or the server cannot be reached any more.
 */
export async function watchObjects(
  client: ServerClient,
  kind: StoredKind,
  query: Query,
  output: OutputFormat,
  terminal: Terminal,
): Promise<void> {
  const printer = new ChangePrinter(printingOf(kind.kind), output, terminal);
  for await (const change of changesOf(client, kind, query)) printer.print(change);
}

/** The same of what the server tells no changes of: it is listed anew every two seconds. */
export async function watchList<Item>(
  list: () => Promise<readonly Item[]>,
  keyOf: (item: Item) => string,
  printing: Printing<Item>,
  output: OutputFormat,
  terminal: Terminal,
): Promise<void> {
  const printer = new ChangePrinter(printing, output, terminal);
  let before = new Map<string, Item>();
  for (;;) {
    const now = new Map((await list()).map((item) => [keyOf(item), item]));
    for (const [key, object] of now) {
      const was = before.get(key);
      if (was === undefined) printer.print({ type: 'ADDED', object });
      else if (!isDeepStrictEqual(was, object)) printer.print({ type: 'MODIFIED', object });
    }
    for (const [key, object] of before) if (!now.has(key)) printer.print({ type: 'DELETED', object });
    before = now;
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

async function* changesOf(
  client: ServerClient,
  kind: StoredKind,
  query: Query,
): AsyncGenerator<Change<AnyObject>, void> {
  let place: string | undefined;
  for (;;) {
    try {
      for await (const event of client.lines(kind.plural, {
        ...query,
        watch: 'true',
        resourceVersion: place,
      })) {
        place = String(event.resourceVersion);
        if (event.type !== 'BOOKMARK') yield event as unknown as Change<AnyObject>;
      }
    } catch (error) {
      // What happened meanwhile cannot be told any more, so everything is told anew.
      if (!(error instanceof ServerRefusal) || error.status !== 410) throw error;
      place = undefined;
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

class ChangePrinter<Item> {
  readonly #printing: Printing<Item>;
  readonly #output: OutputFormat;
  readonly #terminal: Terminal;
  #widths: number[] | undefined;

  constructor(printing: Printing<Item>, output: OutputFormat, terminal: Terminal) {
    this.#printing = printing;
    this.#output = output;
    this.#terminal = terminal;
  }

  print({ type, object }: Change<Item>): void {
    const printing = this.#printing;
    if (this.#output === 'json') this.#terminal.data(JSON.stringify({ type, object }));
    else if (this.#output === 'yaml')
      this.#terminal.data(`---\n# ${type}\n${toYaml(printing.yamlOf?.(object) ?? object)}`);
    else if (this.#output === 'name') this.#terminal.line(`${type} ${printing.nameOf(object)}`);
    else this.#row(type, object);
  }

  /** Columns keep the width that they began with; a longer cell moves the rest of its line. */
  #row(type: string, object: Item): void {
    const { titles, rows } = cellsOf(this.#output, [object], this.#printing);
    const head = ['EVENT', ...titles];
    const cells = [type, ...(rows[0] ?? [])];
    const line = (texts: readonly string[]) =>
      texts
        .map((text, index) => text.padEnd(this.#widths?.[index] ?? 0))
        .join('   ')
        .trimEnd();
    if (!this.#widths) {
      this.#widths = head.map((title, index) =>
        Math.max(title.length, index === 0 ? 'MODIFIED'.length : 12, (cells[index] ?? '').length),
      );
      this.#terminal.line(line(head));
    }
    this.#terminal.line(line(cells));
  }
}
