/** Where names are defined and used: lines that hold the name, judged by a parse of their file where that is possible. */
import { ok, type Result } from '../../base/result.ts';
import type { Code } from './code.ts';
import { languageOf } from './languages.ts';
import { type LineHit, searchLines } from './line-search.ts';
import type { CodeSymbol, Syntax } from './syntax.ts';
import { definedOn } from './text-definitions.ts';

/** How many lines with the name are looked at, how many files are parsed for it, and for how long. */
const MAX_LINES = 5000;
const MAX_FILES = 60;
const MAX_MS = 2000;

export type Definition = {
  path: string;
  line: number;
  endLine: number;
  kind: string;
  text: string;
  method: 'tree-sitter' | 'text';
};

/** All lines that hold the name as a whole word; `complete` is false where there are more than are looked at. */
async function linesWith(
  code: Code,
  name: string,
  path: string,
): Promise<Result<{ hits: LineHit[]; complete: boolean }, string>> {
  let count = 0;
  const query = { pattern: name, isWord: true, path };
  const found = await searchLines(code, query, () => (++count > MAX_LINES ? 'end' : 'take'));
  return found.ok ? ok({ hits: found.value.hits, complete: !found.value.ended }) : found;
}

/** Files in which a line looks like a definition of the name come first: they are parsed when not all can be. */
export async function definitionsOf(
  code: Code,
  syntax: Syntax,
  name: string,
  path: string,
): Promise<Result<{ definitions: Definition[]; complete: boolean }, string>> {
  const found = await linesWith(code, name, path);
  if (!found.ok) return found;
  const files = Map.groupBy(found.value.hits, (hit) => hit.path);
  const likely = (hits: readonly LineHit[]) => hits.some(({ text }) => definedOn(text)?.name === name);
  const ranked = [...files].toSorted(([, a], [, b]) => Number(likely(b)) - Number(likely(a)));
  const parsed = ranked.filter(([file]) => languageOf(file)).slice(0, MAX_FILES);
  const symbols = await symbolsIn(
    code,
    syntax,
    parsed.map(([file]) => file),
  );
  const definitions = ranked.flatMap(([file, hits]) => {
    const defined = symbols.get(file);
    const text = (line: number) => hits.find((hit) => hit.line === line)?.text ?? '';
    if (defined)
      return defined
        .filter((one) => one.name === name)
        .map(({ kind, line, endLine }): Definition => {
          const named = hits.find((hit) => hit.line >= line && hit.line <= endLine)?.line ?? line;
          return { path: file, line, endLine, kind, text: text(named), method: 'tree-sitter' };
        });
    return hits.flatMap(({ line, text }): Definition[] => {
      const one = definedOn(text);
      return one?.name === name
        ? [{ path: file, line, endLine: line, kind: one.kind, text, method: 'text' }]
        : [];
    });
  });
  const complete =
    found.value.complete && symbols.size === ranked.filter(([file]) => languageOf(file)).length;
  return ok({ definitions: inOrder(definitions), complete });
}

export type Reference = { path: string; line: number; text: string; method: 'tree-sitter' | 'text' };

/** Uses of the name; in files that were parsed, those in comments and strings are counted and left out. */
export async function referencesOf(
  code: Code,
  syntax: Syntax,
  name: string,
  path: string,
): Promise<Result<{ references: Reference[]; leftOut: number; complete: boolean }, string>> {
  const found = await linesWith(code, name, path);
  if (!found.ok) return found;
  const files = Map.groupBy(found.value.hits, (hit) => hit.path);
  const parsed = [...files.keys()].filter((file) => languageOf(file)).slice(0, MAX_FILES);
  const texts = await code.readMany(parsed);
  const until = performance.now() + MAX_MS;
  const references: Reference[] = [];
  let leftOut = 0;
  for (const [file, hits] of files) {
    const content = performance.now() < until ? texts.get(file) : undefined;
    const places = hits.flatMap(({ line, text }) =>
      columnsOf(text, name).map((column) => ({ line, column })),
    );
    const kinds = content?.ok
      ? await syntax.places(content.value.toString(), languageOf(file)!, places)
      : undefined;
    const inCode =
      kinds && new Set(places.filter((_, index) => kinds[index] === 'code').map(({ line }) => line));
    for (const { line, text } of hits) {
      if (inCode && !inCode.has(line)) leftOut += 1;
      else references.push({ path: file, line, text, method: inCode ? 'tree-sitter' : 'text' });
    }
    await breath();
  }
  return ok({ references, leftOut, complete: found.value.complete });
}

async function symbolsIn(
  code: Code,
  syntax: Syntax,
  files: readonly string[],
): Promise<Map<string, CodeSymbol[]>> {
  const found = new Map<string, CodeSymbol[]>();
  const texts = await code.readMany(files);
  const until = performance.now() + MAX_MS;
  for (const file of files) {
    const content = texts.get(file);
    if (performance.now() > until) break;
    if (!content?.ok) continue;
    const symbols = await syntax.symbols(content.value.toString(), languageOf(file)!);
    if (symbols) found.set(file, symbols);
    await breath();
  }
  return found;
}

/** Lets others be served between two parses. */
const breath = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Where in the line the name stands as a whole word. */
function columnsOf(text: string, name: string): number[] {
  const columns: number[] = [];
  for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + 1)) {
    if (!/\w/.test(text[at - 1] ?? '') && !/\w/.test(text[at + name.length] ?? '')) columns.push(at);
  }
  return columns;
}

function inOrder(definitions: Definition[]): Definition[] {
  return definitions.toSorted((a, b) => (a.path === b.path ? a.line - b.line : a.path < b.path ? -1 : 1));
}
