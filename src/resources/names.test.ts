import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { nameFault, nameFromLabel, nearest, printable } from './names.ts';

describe('names', () => {
  it('takes what can stand in a URL and in a tool name', () => {
    for (const name of ['a', 'github', 'io.github.x-y', 'a_b', '0x', 'a'.repeat(40)]) {
      assert.equal(nameFault(name), undefined, name);
    }
  });

  it('refuses what could not be told from a tool name, or not be written in a URL', () => {
    for (const name of [
      '',
      'A',
      'a__b',
      'a_',
      '-a',
      '.a',
      'a/b',
      'a b',
      'ä',
      'a'.repeat(41),
      7,
      undefined,
      null,
    ]) {
      assert.equal(typeof nameFault(name), 'string', String(name));
    }
  });

  it('makes a name of a label', () => {
    assert.equal(nameFromLabel('GitHub MCP'), 'github-mcp');
    assert.equal(nameFromLabel('@scope/server__x_'), 'scope-server_x');
    assert.equal(nameFromLabel('!!!'), undefined);
  });

  it('makes no other name than a valid one', () => {
    fc.assert(
      fc.property(fc.string(), (label) => {
        const name = nameFromLabel(label);
        assert.equal(name === undefined ? undefined : nameFault(name), undefined);
      }),
    );
  });

  it('finds the nearest word, or none', () => {
    assert.equal(nearest('ulr', ['command', 'url']), 'url');
    assert.equal(nearest('idleTimout', ['callTimeout', 'idleTimeout']), 'idleTimeout');
    assert.equal(nearest('zzz', ['command', 'url']), undefined);
  });

  it('quotes no control characters', () => {
    assert.equal(printable('a\u001b[31mb\nc'), 'a?[31mb?c');
    assert.equal(printable('x'.repeat(100)).length, 60);
  });
});
