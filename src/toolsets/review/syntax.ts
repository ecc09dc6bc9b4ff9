import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Language as Grammar, Node, Parser, Tree } from 'web-tree-sitter';
import type { Language } from './languages.ts';

/** Larger files are searched as text: a parse holds up everything else in this process. */
const MAX_PARSED = 512 * 1024;
const PARSE_LIMIT_MS = 250;
const MAX_SYMBOLS = 5000;
const COMMENT = /comment/;
const TEXT = /string|heredoc|char_literal|character_literal|text|regex/;

export type CodeSymbol = {
  name: string;
  kind: string;
  /** From 1. */
  line: number;
  endLine: number;
  /** How many definitions it lies in. */
  depth: number;
};

export type Occurrence = 'code' | 'comment' | 'string';

/** Reads code with the grammars that are shipped; each is loaded when it is first needed. */
export class Syntax {
  readonly #grammars = new Map<string, Promise<Grammar>>();
  #parser: Promise<Parser> | undefined;

  /** What the file defines, in its order; undefined when it cannot be parsed within the limits. */
  symbols(text: string, language: Language): Promise<CodeSymbol[] | undefined> {
    return this.#parsed(text, language, (tree) => symbolsOf(tree.rootNode, language));
  }

  /** Where each place (line from 1, column in characters from 0) lies; undefined as above. */
  places(
    text: string,
    language: Language,
    places: readonly { line: number; column: number }[],
  ): Promise<Occurrence[] | undefined> {
    return this.#parsed(text, language, ({ rootNode }) =>
      places.map(({ line, column }) => {
        const type = rootNode.descendantForPosition({ row: line - 1, column })?.type ?? '';
        if (COMMENT.test(type)) return 'comment';
        return TEXT.test(type) ? 'string' : 'code';
      }),
    );
  }

  async #parsed<T>(text: string, language: Language, look: (tree: Tree) => T): Promise<T | undefined> {
    if (text.length > MAX_PARSED) return undefined;
    this.#parser ??= startParser();
    const parser = await this.#parser;
    const grammar = await this.#grammar(language.grammar);
    parser.setLanguage(grammar);
    const deadline = performance.now() + PARSE_LIMIT_MS;
    const tree = parser.parse(text, null, { progressCallback: () => performance.now() > deadline });
    if (!tree) {
      parser.reset();
      return undefined;
    }
    try {
      return look(tree);
    } finally {
      tree.delete();
    }
  }

  #grammar(name: string): Promise<Grammar> {
    let grammar = this.#grammars.get(name);
    if (!grammar) {
      grammar = import('web-tree-sitter').then(({ Language }) => Language.load(grammarFile(name)));
      this.#grammars.set(name, grammar);
    }
    return grammar;
  }
}

async function startParser(): Promise<Parser> {
  const { Parser } = await import('web-tree-sitter');
  await Parser.init();
  return new Parser();
}

function grammarFile(name: string): string {
  const main = createRequire(import.meta.url).resolve('@vscode/tree-sitter-wasm');
  return join(dirname(main), `tree-sitter-${name}.wasm`);
}

function symbolsOf(root: Node, language: Language): CodeSymbol[] {
  const { definitions, topLevel = {} } = language;
  const symbols: CodeSymbol[] = [];
  const open: number[] = [];
  for (const node of root.descendantsOfType([...Object.keys(definitions), ...Object.keys(topLevel)])) {
    if (symbols.length >= MAX_SYMBOLS) break;
    while (open.length > 0 && open.at(-1)! <= node.startIndex) open.pop();
    const kind = definitions[node.type] ?? topLevel[node.type]!;
    const isAssigned = definitions[node.type] === undefined;
    const name = isAssigned && open.length > 0 && !definesFunction(node) ? undefined : nameOf(node);
    if (name === undefined || /\s/.test(name) || isMention(node)) continue;
    const depth = open.length;
    symbols.push({
      name,
      kind: isAssigned && definesFunction(node) ? 'function' : kind,
      line: node.startPosition.row + 1,
      endLine: node.endPosition.row + 1,
      depth,
    });
    open.push(node.endIndex);
  }
  return symbols;
}

/** `struct s x;` in C says what exists elsewhere. */
function isMention(node: Node): boolean {
  return node.type.endsWith('_specifier') && !node.childForFieldName('body');
}

function definesFunction(node: Node): boolean {
  return /function|lambda/.test(node.childForFieldName('value')?.type ?? '');
}

/** The name that a node defines: its field, or what the declarators around the name lead to. */
function nameOf(node: Node): string | undefined {
  const given =
    node.childForFieldName('name') ??
    node.childForFieldName('property') ??
    (node.type === 'assignment' ? node.childForFieldName('left') : null);
  if (given) return isNaming(given) ? given.text : undefined;
  let inner = node.childForFieldName('declarator');
  for (let next = inner; next; next = next.childForFieldName('declarator')) inner = next;
  return inner?.text.split('::').at(-1);
}

/** `const { a, b } = …` and `a[0] = …` name nothing of their own. */
function isNaming({ type }: Node): boolean {
  return !/pattern|subscript|attribute|call/.test(type);
}
