import { extname } from 'node:path';
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseAllDocuments,
  visit,
} from 'yaml';
import { messageOf } from '../base/errors.ts';
import { isMapping } from '../base/mapping.ts';
import { clientServers, isClientFile } from './client-files.ts';
import { blankComments } from './jsonc.ts';
import { checkObject, type WrittenObject } from './objects.ts';
import { type FieldPath, fieldName, type LocatedProblem, type Problem } from './problems.ts';

/** A written object that knows where in which file it stands. */
export type FileObject = WrittenObject & {
  file: string;
  line: number;
  /** Turns a problem of this object into one with its place in the file. */
  locate: (problem: Problem) => LocatedProblem;
};

export type ParsedFile = {
  file: string;
  /** True for a plain client file (`mcpServers` or `servers`): it declares servers and no project. */
  client: boolean;
  objects: FileObject[];
  /** Why the file is broken; then `objects` must not be used. */
  problems: LocatedProblem[];
  /** What was understood differently than its author may think, worth a line in the log. */
  notices: LocatedProblem[];
};

/** Files are read whole; more than this is not configuration. */
export const MAX_FILE_CHARS = 4 * 1024 * 1024;
const MAX_OBJECTS = 10_000;
const MAX_ALIASES = 100;

/** One YAML document or JSON value, and the way from a path in it to a line. */
type SourceDocument = { value: unknown; lineOf: (path: FieldPath) => number };

/**
 * Reads the text of a configuration file: YAML documents, JSON (one object, a list, or `{items: […]}`), or a client
 * file. `file` is the name for messages; `.json` and `.jsonc` allow comments.
 */
export function parseFile(file: string, text: string): ParsedFile {
  const parsed: ParsedFile = { file, client: false, objects: [], problems: [], notices: [] };
  if (text.length > MAX_FILE_CHARS) {
    parsed.problems.push({ file, line: 1, field: '', message: 'the file is larger than 4 MiB: split it' });
    return parsed;
  }
  const { documents, problems } = sourceDocuments(file, text);
  parsed.problems.push(...problems);
  if (problems.length > 0) return parsed;
  for (const document of documents) {
    if (isClientFile(document.value)) readClientFile(document, parsed);
    else readObjects(document, parsed);
  }
  if (documents.length === 0) {
    parsed.problems.push({
      file,
      line: 1,
      field: '',
      message: 'the file is empty: write at least one object',
    });
  }
  return parsed;
}

function readObjects(document: SourceDocument, parsed: ParsedFile): void {
  for (const path of objectPaths(document.value)) {
    const locate = locator(parsed.file, document, path);
    const { object, problems } = checkObject(valueAt(document.value, path));
    parsed.problems.push(...problems.map(locate));
    if (object) parsed.objects.push({ ...object, file: parsed.file, line: document.lineOf(path), locate });
  }
}

/** Paths of the objects in a document: itself, the items of a list, or those of `{items: […]}`. */
function objectPaths(value: unknown): FieldPath[] {
  const items = isMapping(value) && value.items !== undefined ? value.items : value;
  if (!Array.isArray(items)) return [[]];
  const base = items === value ? [] : ['items'];
  return items.slice(0, MAX_OBJECTS).map((_, index) => [...base, index]);
}

function readClientFile(document: SourceDocument, parsed: ParsedFile): void {
  parsed.client = true;
  const place = locator(parsed.file, document, []);
  const { servers, problems, notices } = clientServers(document.value);
  parsed.problems.push(...problems.map(place));
  parsed.notices.push(...notices.map(place));
  for (const { path, name, spec } of servers) {
    // A spec's fields stand directly below the server's name in a client file.
    const locate = ({ path: [, ...rest], message }: Problem) => place({ path: [...path, ...rest], message });
    const object = { apiVersion: undefined, kind: 'Server', metadata: { name }, spec };
    const checked = checkObject(object);
    parsed.problems.push(...checked.problems.map(locate));
    if (!checked.object) continue;
    parsed.objects.push({ ...checked.object, file: parsed.file, line: document.lineOf(path), locate });
  }
}

function locator(file: string, document: SourceDocument, base: FieldPath) {
  return ({ path, message }: Problem): LocatedProblem => {
    return { file, line: document.lineOf([...base, ...path]), field: fieldName(path), message };
  };
}

function valueAt(value: unknown, path: FieldPath): unknown {
  return path.reduce<unknown>((inner, step) => (inner as Record<string | number, unknown>)[step], value);
}

function sourceDocuments(
  file: string,
  text: string,
): { documents: SourceDocument[]; problems: LocatedProblem[] } {
  const isJson = ['.json', '.jsonc'].includes(extname(file));
  const lines = new LineCounter();
  const source = text.replace(/^\uFEFF/, '');
  const plain = isJson ? blankComments(source) : source;
  const problems: LocatedProblem[] = [];
  const problemAt = (offset: number, message: string) => {
    problems.push({ file, line: lines.linePos(offset).line || 1, field: '', message });
  };
  try {
    const parsed = parseAllDocuments(plain, {
      prettyErrors: false,
      lineCounter: lines,
    });
    const documents: SourceDocument[] = [];
    for (const document of Array.isArray(parsed) ? parsed : []) {
      // What follows the first fault of a document is mostly its echo.
      const fault = document.errors[0] ?? document.warnings[0];
      if (fault) problemAt(fault.pos[0], syntaxMessage(fault.code, fault.message));
      if (document.errors.length > 0) continue;
      const value: unknown = document.toJS({ maxAliasCount: MAX_ALIASES });
      if (isJson && !isPlainJson(plain)) {
        problemAt(firstOffsetBeyondJson(document), 'is not valid JSON: correct the syntax here');
      }
      if (value !== null) documents.push({ value, lineOf: (path) => lineOf(document, path, lines) });
    }
    return { documents, problems };
  } catch (error) {
    const isDeep = error instanceof RangeError;
    if (!isDeep && !/alias/i.test(messageOf(error))) throw error;
    const message = isDeep ? 'is nested too deeply: flatten it' : 'repeats too much by aliases: write it out';
    return { documents: [], problems: [{ file, line: 1, field: '', message }] };
  }
}

function isPlainJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Where a file that YAML understands, and JSON does not, first says something in YAML alone. */
function firstOffsetBeyondJson(document: Document.Parsed): number {
  let offset = 0;
  visit(document, {
    Scalar(_, { type, source, range }) {
      if (type === 'QUOTE_DOUBLE' || (type === 'PLAIN' && isPlainJson(source ?? ''))) return undefined;
      offset = range?.[0] ?? 0;
      return visit.BREAK;
    },
  });
  return offset;
}

function syntaxMessage(code: string, message: string): string {
  if (/call stack/.test(message)) return 'is nested too deeply: flatten it';
  if (code === 'DUPLICATE_KEY') return 'the same key appears twice: remove one of them';
  return `is not valid: ${message.replace(/\s+/g, ' ').slice(0, 200)}: correct the syntax here`;
}

/** The line of the deepest part of `path` that exists, which is that of its key where it has one. */
function lineOf(document: Document.Parsed, path: FieldPath, lines: LineCounter): number {
  let node: unknown = document.contents;
  let offset = (document.contents as Node | null)?.range?.[0] ?? 0;
  for (const step of path) {
    if (isAlias(node)) node = node.resolve(document);
    if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step));
      if (!pair) break;
      offset = (pair.key as Node).range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(step)];
      offset = (node as Node | undefined)?.range?.[0] ?? offset;
    } else break;
  }
  return lines.linePos(offset).line || 1;
}
