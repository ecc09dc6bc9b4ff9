import { isObject, type JsonObject } from '../../jsonrpc.ts';

const MAX_DEPTH = 64;

/**
 * Legacy clients know only objects as structured content. Another value travels as `{result: value}`, and a schema
 * whose root is not an object is wrapped to match; local references are moved along with it.
 */
export function wrapOutputSchema(schema: JsonObject): JsonObject {
  if (schema.type === 'object') return schema;
  const { $schema, ...inner } = schema;
  const wrapped: JsonObject = {
    type: 'object',
    properties: { result: moveReferences(inner, 0) },
    required: ['result'],
  };
  return $schema === undefined ? wrapped : { $schema, ...wrapped };
}

export function wrapStructuredContent(result: JsonObject): JsonObject {
  const value = result.structuredContent;
  if (value === undefined || isObject(value)) return result;
  const content = Array.isArray(result.content) ? result.content : [];
  const hasText = content.some((block) => isObject(block) && block.type === 'text');
  return {
    ...result,
    content: hasText ? content : [...content, { type: 'text', text: JSON.stringify(value) }],
    structuredContent: { result: value },
  };
}

function moveReferences(node: unknown, depth: number): unknown {
  if (depth > MAX_DEPTH) return node;
  if (Array.isArray(node)) return node.map((item) => moveReferences(item, depth + 1));
  if (!isObject(node)) return node;
  const moved: JsonObject = {};
  for (const [key, value] of Object.entries(node)) {
    const local = (key === '$ref' || key === '$dynamicRef') && typeof value === 'string';
    moved[key] =
      local && (value === '#' || value.startsWith('#/'))
        ? `#/properties/result${value.slice(1)}`
        : moveReferences(value, depth + 1);
  }
  return moved;
}
