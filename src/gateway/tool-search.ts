import { LRUCache } from 'lru-cache';
import type MiniSearch from 'minisearch';
import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import { itemsOf, type View } from './view.ts';

type Entry = { id: string; name: string; title: string; about: string; parameters: string };

/** Said in every task and in every description. */
const STOP_WORDS = new Set(
  'a all an and are as at be by can do for from get have i if in into is it its me my of on or our please that the then them these this to up use using want was we what when which who with you your'.split(
    ' ',
  ),
);
const MAX_TEXT = 4_000;
const TOOL = 'tool:';
const PROMPT = 'prompt:';

/** Entries of one index; an entry takes about 3 KB and a sixth of a millisecond. */
const MAX_ENTRIES = 5_000;
const MAX_KEPT = 20_000;
const CHUNK = 50;
/** Of a query that count: every one of them is looked up. */
const MAX_WORDS = 64;

/**
 * Ranks the tools and prompts of a view for a task that is told in words. An index belongs to the view that it was made
 * for, and so to a surface and to whoever may run the same there. It is made by the first search and is of no use to
 * the view that comes next.
 */
export class ToolSearch {
  readonly #indexes = new LRUCache<View['tools'], Promise<MiniSearch<Entry>>>({
    maxSize: MAX_KEPT,
    sizeCalculation: (_, tools) => Math.min(tools.size, MAX_ENTRIES) + 1,
  });

  /** Names of tools, those that fit best first. */
  tools(view: View, query: string): Promise<string[]> {
    return this.#search(view, query, TOOL);
  }

  prompts(view: View, query: string): Promise<string[]> {
    return this.#search(view, query, PROMPT);
  }

  async #search(view: View, query: string, kind: string): Promise<string[]> {
    const index = await this.#indexOf(view);
    const words = new Set(wordsOf(query).filter((word) => !STOP_WORDS.has(word)));
    const found = index.search([...words].slice(0, MAX_WORDS).join(' '), {
      filter: ({ id }) => String(id).startsWith(kind),
    });
    return found.map(({ id }) => String(id).slice(kind.length));
  }

  #indexOf(view: View): Promise<MiniSearch<Entry>> {
    let index = this.#indexes.get(view.tools);
    if (!index) {
      index = indexOf(view);
      this.#indexes.set(view.tools, index);
    }
    return index;
  }
}

async function indexOf(view: View): Promise<MiniSearch<Entry>> {
  const { default: Index } = await import('minisearch');
  const index = new Index<Entry>({
    fields: ['name', 'title', 'about', 'parameters'],
    tokenize: wordsOf,
    processTerm: (word) => (STOP_WORDS.has(word) ? null : stemOf(word)),
    searchOptions: {
      boost: { name: 3, title: 2, parameters: 0.5 },
      // Whoever tells of a task in words of their own seldom uses those of the tool to the letter.
      prefix: (term) => term.length > 3,
      fuzzy: (term) => (term.length > 4 ? 0.2 : false),
      weights: { prefix: 0.5, fuzzy: 0.25 },
    },
  });
  const tools = [...view.tools.values()].map(({ exposed, definition }) =>
    entryOf(TOOL + exposed, definition),
  );
  const prompts = itemsOf(view, 'prompts').map((prompt) => entryOf(PROMPT + String(prompt.name), prompt));
  // A part at a time: calls go on meanwhile.
  await index.addAllAsync([...tools, ...prompts].slice(0, MAX_ENTRIES), { chunkSize: CHUNK });
  return index;
}

function entryOf(id: string, { name, title, description, inputSchema, arguments: args }: JsonObject): Entry {
  const properties = isObject(inputSchema) && isObject(inputSchema.properties) ? inputSchema.properties : {};
  const members = Object.entries(properties).map(([key, schema]) => `${key} ${textIn(schema)}`);
  if (Array.isArray(args))
    members.push(...args.map((one) => `${isObject(one) ? one.name : ''} ${textIn(one)}`));
  return {
    id,
    name: String(name),
    title: typeof title === 'string' ? title : '',
    about: typeof description === 'string' ? description.slice(0, MAX_TEXT) : '',
    parameters: members.join(' ').slice(0, MAX_TEXT),
  };
}

function textIn(schema: unknown): string {
  return isObject(schema) && typeof schema.description === 'string' ? schema.description : '';
}

/** `createPullRequest` and `create_pull_request` are the same three words. */
function wordsOf(text: string): string[] {
  const apart = text.replace(/(\p{Ll}|\d)(\p{Lu})/gu, '$1 $2').toLowerCase();
  return apart.match(/[\p{L}\p{N}]+/gu) ?? [];
}

/** One issue and many issues are told of alike. */
function stemOf(word: string): string {
  if (word.length < 4 || /(?:ss|us|is)$/.test(word)) return word;
  return word.endsWith('ies') ? `${word.slice(0, -3)}y` : word.replace(/s$/, '');
}
