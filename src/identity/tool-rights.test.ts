import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { layerOf, someName, toolBinding } from '../../test/support/arbitrary-bindings.ts';
import { parseBinding } from '../resources/bindings.ts';
import { decide, type Layer } from './decide.ts';
import { EVERY_TOOL, ToolRights } from './tool-rights.ts';

const bindings = fc.array(toolBinding, { maxLength: 4 });
const layers = fc
  .tuple(bindings, bindings, fc.boolean())
  .map(([own, owner, token]): Layer[] =>
    token ? [layerOf('McpToken:1', own, 'p'), layerOf('User:o', owner)] : [layerOf('User:o', owner)],
  );
const project = fc.constantFrom('p', 'q');
const running = { role: 'run', resource: 'tools' } as const;

describe('rights to tools', () => {
  it('show in lists exactly what a call may run', () => {
    fc.assert(
      fc.property(layers, project, someName, (all, where, name) => {
        const { allowed } = decide(all, { ...running, name, project: where });
        assert.equal(new ToolRights(all, where).runs(name), allowed);
      }),
      { numRuns: 20_000 },
    );
  });

  it('give resources and prompts of a server to whoever may run all that it has', () => {
    fc.assert(
      fc.property(layers, project, fc.constantFrom('a', 'ab', 'b'), (all, where, server) => {
        const { allowed } = decide(all, { ...running, prefix: `${server}__`, project: where });
        assert.equal(new ToolRights(all, where).runsAllOf(server), allowed);
      }),
      { numRuns: 20_000 },
    );
  });

  it('keep quiet of a server only where nothing of it can be run', () => {
    fc.assert(
      fc.property(layers, project, fc.string({ maxLength: 4 }), (all, where, rest) => {
        const rights = new ToolRights(all, where);
        if (rights.runs(`a__${rest}`)) assert.ok(rights.reaches('a') && !rights.isNothing);
      }),
      { numRuns: 20_000 },
    );
  });

  it('have the same fingerprint only where they allow the same', () => {
    fc.assert(
      fc.property(layers, layers, project, someName, (one, other, where, name) => {
        const [a, b] = [new ToolRights(one, where), new ToolRights(other, where)];
        if (a.fingerprint === b.fingerprint) assert.equal(a.runs(name), b.runs(name));
      }),
      { numRuns: 20_000 },
    );
    const of = (...texts: string[]) =>
      new ToolRights(
        [
          layerOf(
            'User:o',
            texts.map((text) => parseBinding(text, 'x')),
          ),
        ],
        'p',
      ).fingerprint;
    assert.equal(of('role:run,resource:tools'), EVERY_TOOL.fingerprint);
    assert.equal(
      of('role:run,resource:tools,name:a'),
      of('role:view,resource:servers', 'role:run,resource:*,name:a'),
    );
    assert.notEqual(of(), EVERY_TOOL.fingerprint);
    assert.notEqual(new ToolRights([], 'p').fingerprint, EVERY_TOOL.fingerprint);
  });
});
