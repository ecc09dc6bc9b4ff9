import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { BUILTIN_TOOLSETS } from '../resources/builtin-toolsets.ts';
import type { Surface } from '../resources/spec.ts';
import { definitionOf, toolsetTool } from './toolset.ts';
import { Toolsets } from './toolsets.ts';

const said: string[] = [];
const speak = toolsetTool({
  name: 'speak_up',
  title: 'Speak up',
  doc: {
    does: 'Says a word',
    when: 'somebody listens',
    example: { word: 'hello' },
    returns: 'the word',
    next: 'nothing',
    ids: 'none',
  },
  input: z.strictObject({ word: z.string(), times: z.int().min(1).default(1) }),
  output: z.object({ message: z.string() }),
  readOnly: true,
  run: async ({ word, times }) => {
    said.push(word.repeat(times));
    return { ok: true, structured: { message: word } };
  },
});

test('a tool that stands on no surface keeps Castellan from starting', () => {
  const toolset = { name: 'speech', instructions: '', tools: [speak] };
  assert.throws(
    () => new Toolsets([toolset]),
    /^Error: tool speak_up of the toolset speech is on no surface$/,
  );
});

test('so does one that stands on both', () => {
  const all = BUILTIN_TOOLSETS as Map<string, { surface: Surface; tools: string[] }>;
  all.set('speech', { surface: 'operator', tools: ['speak_up'] });
  all.set('theatre', { surface: 'consumer', tools: ['speak_up'] });
  try {
    const toolset = { name: 'speech', instructions: '', tools: [speak] };
    const both = /^Error: tool speak_up of the toolset speech is on both surfaces$/;
    assert.throws(() => new Toolsets([toolset]), both);
  } finally {
    all.delete('speech');
    all.delete('theatre');
  }
});

test('a tool is listed with its schemas, and with an example that its own schema takes', () => {
  const definition = definitionOf(speak);
  assert.equal(
    definition.description,
    'Says a word.\nWhen: somebody listens.\nExample: {"word":"hello"}\nReturns: the word.\nNext: nothing.\nIds: none.',
  );
  assert.deepEqual(definition.inputSchema, {
    type: 'object',
    properties: {
      word: { type: 'string' },
      times: { default: 1, type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER },
    },
    required: ['word'],
    additionalProperties: false,
  });
  assert.deepEqual(definition.annotations, { readOnlyHint: true, openWorldHint: false });
  assert.deepEqual(said, []);
});
