import { cellsOf, type OutputFormat, toYaml } from './output.ts';
import { type AnyObject, printingOf } from './printings.ts';
import { type ServerClient, ServerRefusal } from './server-client.ts';
import type { StoredKind } from './targets.ts';
import type { Terminal } from './terminal.ts';

type Query = Readonly<Record<string, string | undefined>>;
type Change = { type: 'ADDED' | 'MODIFIED' | 'DELETED'; object: AnyObject };

const AGAIN_MS = 1_000;

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
  const printer = new ChangePrinter(kind, output, terminal);
  for await (const change of changesOf(client, kind, query)) printer.print(change);
}

async function* changesOf(
  client: ServerClient,
  kind: StoredKind,
  query: Query,
): AsyncGenerator<Change, void> {
  let place: string | undefined;
  for (;;) {
    try {
      for await (const event of client.lines(kind.plural, {
        ...query,
        watch: 'true',
        resourceVersion: place,
      })) {
        place = String(event.resourceVersion);
        if (event.type !== 'BOOKMARK') yield event as unknown as Change;
      }
    } catch (error) {
      // What happened meanwhile cannot be told any more, so everything is told anew.
      if (!(error instanceof ServerRefusal) || error.status !== 410) throw error;
      place = undefined;
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

class ChangePrinter {
  readonly #kind: StoredKind;
  readonly #output: OutputFormat;
  readonly #terminal: Terminal;
  #widths: number[] | undefined;

  constructor(kind: StoredKind, output: OutputFormat, terminal: Terminal) {
    this.#kind = kind;
    this.#output = output;
    this.#terminal = terminal;
  }

  print({ type, object }: Change): void {
    const printing = printingOf(this.#kind.kind);
    if (this.#output === 'json') this.#terminal.data(JSON.stringify({ type, object }));
    else if (this.#output === 'yaml')
      this.#terminal.data(`---\n# ${type}\n${toYaml(printing.yamlOf?.(object) ?? object)}`);
    else if (this.#output === 'name') this.#terminal.line(`${type} ${printing.nameOf(object)}`);
    else this.#row(type, object);
  }

  /** Columns keep the width that they began with; a longer cell moves the rest of its line. */
  #row(type: string, object: AnyObject): void {
    const { titles, rows } = cellsOf(this.#output, [object], printingOf(this.#kind.kind));
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
