import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import type { ResultShape } from './result-rules.ts';
import { truncated } from './truncation.ts';

/** A tool's result after projection and truncation. `notes`: what its reader has to know of that. */
export type Projected = { result: JsonObject; notes: readonly string[] };

/**
 * Applies `jsonPath` and `truncate` to `structuredContent`, else to every text that is a JSON object or list. Results
 * that say `isError` stay as they are, and so does whatever is no JSON.
 */
export function projected(result: JsonObject, shape: ResultShape): Projected {
  const unchanged = { result, notes: [] };
  if (result.isError === true || (!shape.jsonPath && !shape.truncate)) return unchanged;
  const notes = new Set<string>();
  const { structuredContent } = result;
  if (structuredContent !== undefined) {
    const structured = reshaped(structuredContent, shape, notes);
    if (structured === structuredContent) return { result, notes: [...notes] };
    const others = blocksOf(result).filter((block) => !isText(block));
    const text = { type: 'text', text: JSON.stringify(structured) };
    return {
      result: { ...result, content: [text, ...others], structuredContent: structured },
      notes: [...notes],
    };
  }
  const blocks = blocksOf(result);
  const content = blocks.map((block) => (isText(block) ? textBlock(block, shape, notes) : block));
  const same = content.every((block, index) => block === blocks[index]);
  return same ? { result, notes: [...notes] } : { result: { ...result, content }, notes: [...notes] };
}

function textBlock(block: TextBlock, shape: ResultShape, notes: Set<string>): JsonObject {
  const value = jsonIn(block.text);
  if (value === undefined) return block;
  const now = reshaped(value, shape, notes);
  return now === value ? block : { ...block, text: JSON.stringify(now) };
}

function reshaped(value: unknown, { jsonPath, truncate }: ResultShape, notes: Set<string>): unknown {
  let now = value;
  const selected = jsonPath?.select(value);
  if (selected?.ok) now = selected.value.value;
  if (selected?.ok && selected.value.found === 0)
    notes.add('The result has none of what the configuration of this tool picks out of results.');
  if (selected && !selected.ok) notes.add(`The result was not searched: ${selected.error}.`);
  return truncate ? truncated(now, truncate) : now;
}

/** The JSON object or list that a text is; undefined for any other text. */
function jsonIn(text: string): unknown {
  if (!/^\s*[[{]/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Everything in a result that a model reads as text, as one text; the blocks that are none (images, audio, files). */
export type Readable = { text: string; others: readonly JsonObject[] };

/** `structuredContent` is part of it where no text block says the same. */
export function readable(result: JsonObject): Readable {
  const others: JsonObject[] = [];
  const texts: string[] = [];
  for (const block of blocksOf(result)) {
    if (isBinary(block)) others.push(block);
    else texts.push(textOf(block));
  }
  const { structuredContent } = result;
  if (structuredContent !== undefined) {
    const json = JSON.stringify(structuredContent);
    if (!texts.some((text) => text === json || sameJson(text, json))) texts.push(json);
  }
  return { text: texts.join('\n'), others };
}

type TextBlock = JsonObject & { text: string };

function blocksOf({ content }: JsonObject): JsonObject[] {
  return Array.isArray(content) ? content.filter(isObject) : [];
}

function isText(block: JsonObject): block is TextBlock {
  return block.type === 'text' && typeof block.text === 'string';
}

/** What its bytes say nothing of: how much of a model's context an image takes. */
function isBinary({ type, resource }: JsonObject): boolean {
  return type === 'image' || type === 'audio' || (isObject(resource) && typeof resource.blob === 'string');
}

function textOf(block: JsonObject): string {
  if (isText(block)) return block.text;
  const { resource } = block;
  if (isObject(resource) && typeof resource.text === 'string') return `${resource.uri}:\n${resource.text}`;
  return JSON.stringify(block);
}

function sameJson(text: string, json: string): boolean {
  const value = jsonIn(text);
  return value !== undefined && JSON.stringify(value) === json;
}
