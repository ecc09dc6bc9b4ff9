/**
 * Twenty servers with twenty tools each, as vendors write them: what a project with many servers lists. The products,
 * their objects and the fields of those are in tool-catalogue.txt; each object has four operations. A line there reads
 * `object | in words | operations | field: description; …`, where `*` is required, `[]` a list, `{}` an object,
 * `#` a whole number, `?` true or false, and `=a,b` one of these.
 */
import { readFileSync } from 'node:fs';

type Schema = { type: string; description: string; items?: object; enum?: string[] };

export type CatalogueTool = {
  name: string;
  title: string;
  description: string;
  inputSchema: { type: 'object'; properties: Record<string, Schema>; required: string[] };
  annotations: { readOnlyHint: boolean };
};

export type CatalogueServer = { name: string; product: string; tools: CatalogueTool[] };

type Field = { name: string; schema: Schema; required: boolean };

const READING =
  /^(list|search|get|read|describe|query|find|compare|check|count|tail|aggregate|export|diff|tree|explain|suggest|inspect|test|verify|latest|slowest|simulate|follow|previous|poll|download|propose|summarize|get_policy)$/;
const MANY = /^(list|search|query|tail|find|count|aggregate)$/;
const MAKING =
  /^(create|post|send|draft|write|put|add|declare|upload|share|append|start|publish|record|grant)$/;

export function toolCatalogue(): CatalogueServer[] {
  const text = readFileSync(new URL('tool-catalogue.txt', import.meta.url), 'utf8');
  return text
    .split(/^# /m)
    .slice(1)
    .map((section) => {
      const [head = '', ...lines] = section.trim().split('\n');
      const [name = '', product = '', scope = ''] = head.split(' | ');
      return { name, product, tools: lines.flatMap((line) => toolsOf(line, product, fieldsOf(scope))) };
    });
}

function toolsOf(line: string, product: string, scope: Field[]): CatalogueTool[] {
  const [object = '', words = '', operations = '', fields = ''] = line.split(' | ');
  const own = fieldsOf(fields);
  return operations.split(' ').map((verb) => {
    const many = MANY.test(verb);
    const shown = many ? own.filter(({ schema, required }) => schema.enum || !required) : own;
    const chosen = [
      ...scope,
      ...extrasOf(verb, object),
      ...(MAKING.test(verb) || many ? shown : own.slice(0, 2)),
    ];
    return {
      name: `${verb}_${many ? pluralOf(object) : object}`,
      title: `${capital(verb.replaceAll('_', ' '))} ${words}`,
      description: descriptionOf(verb, object, words, product),
      inputSchema: {
        type: 'object',
        properties: Object.fromEntries(chosen.map((field) => [field.name, field.schema])),
        required: chosen.filter((field) => field.required && !many).map((field) => field.name),
      },
      annotations: { readOnlyHint: READING.test(verb) },
    };
  });
}

function descriptionOf(verb: string, object: string, words: string, product: string): string {
  const what = `${capital(verb.replaceAll('_', ' '))} ${words} in ${product}.`;
  if (MANY.test(verb))
    return `${what} Returns one page of results, the newest first, each with its id, its main fields and the time of its last change. Pass next_cursor of the answer as cursor for the next page; narrow the results down with the filters instead of reading all pages.`;
  if (MAKING.test(verb))
    return `${what} Returns the new object with its id and its address. Fields that are left out get the defaults of the account. Look for one that exists already before you make another, for nothing checks for duplicates.`;
  if (READING.test(verb))
    return `${what} Returns all of its fields, with those that are computed. Use this after a search or a list has given the id of the ${object.replaceAll('_', ' ')}; fails if it does not exist or the credential may not see it.`;
  return `${what} Changes only what is given and returns the object as it is afterwards. This cannot always be undone: make sure that it is the right ${object.replaceAll('_', ' ')} first.`;
}

/** What an operation takes beside the fields of its object. */
function extrasOf(verb: string, object: string): Field[] {
  if (MANY.test(verb))
    return fieldsOf(
      'per_page#: Results per page, 1 to 100, 30 when left out; cursor: Where the next page begins, from the answer before',
    );
  return MAKING.test(verb)
    ? []
    : fieldsOf(`${object}_id*: Id of the ${object.replaceAll('_', ' ')}, as lists show it`);
}

function fieldsOf(text: string): Field[] {
  if (text === '') return [];
  return text.split('; ').map((part) => {
    const {
      name = '',
      marks = '',
      values,
      description = '',
    } = /^(?<name>\w+)(?<marks>[*[\]{}#?]*)(?:=(?<values>[^:]+))?: (?<description>.*)$/.exec(part)?.groups ??
    {};
    const type = marks.includes('[')
      ? 'array'
      : marks.includes('{')
        ? 'object'
        : marks.includes('#')
          ? 'integer'
          : marks.includes('?')
            ? 'boolean'
            : 'string';
    const schema: Schema = { type, description };
    if (type === 'array') schema.items = { type: 'string' };
    if (values !== undefined) schema.enum = values.split(',');
    return { name, schema, required: marks.includes('*') };
  });
}

function pluralOf(word: string): string {
  return word.endsWith('y') ? `${word.slice(0, -1)}ies` : `${word}s`;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
