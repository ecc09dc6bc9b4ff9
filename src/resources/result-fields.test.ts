import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fieldName } from './problems.ts';
import { projectProblems, projectSpec } from './project-fields.ts';
import { serverProblems, serverSpec } from './server-fields.ts';

// biome-ignore lint/suspicious/noTemplateCurlyInString: it stands like this in a file
const PLACEHOLDER = '${LIMIT}';

const problems = (...results: unknown[]) =>
  serverProblems({ url: 'https://example.com/mcp', tools: { results } }).map(
    ({ path, message }) => `${fieldName(path)}: ${message}`,
  );

describe('rules for results', () => {
  it('are refused with the field, the position of a mistake and the fix', () => {
    const tools = ['*'];
    const refused: [unknown, RegExp][] = [
      [
        { tools, jsonPath: '$.items[' },
        /^spec\.tools\.results\[0\]\.jsonPath: is no JSONPath .* at character 9/,
      ],
      [{ tools, jsonPath: '$[?match(@.a, "x")]' }, /jsonPath: .* at character 4; length\(\) alone/],
      [{ tools, jsonPath: '$..a..b' }, /jsonPath: has a second "\.\." at character 5/],
      [{ tools }, /^spec\.tools\.results\[0\]: changes nothing: add jsonPath, truncate or maxBytes/],
      [{ tools, truncate: {} }, /truncate: cuts nothing: add items or characters/],
      [{ tools, truncate: { items: 0 } }, /truncate\.items: is too small/],
      [{ tools, truncate: { characters: '5' } }, /truncate\.characters: must be a number/],
      [{ tools, maxBytes: 2048 }, /maxBytes: must be text, not a number: put it in quotes/],
      [{ tools, maxBytes: '1B' }, /maxBytes: is out of range: use a value from 1KiB to 1GiB/],
      [{ tools: [], maxBytes: '2KiB' }, /tools: is too small/],
      [{ maxBytes: '2KiB' }, /tools: is missing/],
      [{ tools, maxChars: 5 }, /maxChars: unknown key: use one of tools, jsonPath, truncate, maxBytes/],
    ];
    for (const [rule, message] of refused) assert.match(problems(rule).join('\n'), message);
    const project = projectProblems({ results: { maxBytes: 'much' } });
    assert.match(project[0]!.message, /is no valid value/);
  });

  it('become what is applied; a placeholder is checked once it is replaced', () => {
    const rule = { tools: ['get_*'], jsonPath: '$.a', truncate: { items: 3 }, maxBytes: '4KiB' };
    assert.deepEqual(problems(rule, { tools: ['*'], maxBytes: PLACEHOLDER }), []);
    const { results } = serverSpec({ url: 'https://example.com/mcp', tools: { results: [rule] } }).tools;
    assert.deepEqual(results[0]?.truncate, { items: 3, characters: undefined });
    assert.equal(results[0]?.maxBytes, 4_096);
    assert.deepEqual(results[0]?.jsonPath?.select({ a: 7 }), { ok: true, value: { found: 1, value: 7 } });
    assert.equal(projectSpec({ results: { maxBytes: '1MiB' } }).results.maxBytes, 1_048_576);
    assert.equal(projectSpec({}).results.maxBytes, undefined);
  });
});
