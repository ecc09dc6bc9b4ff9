import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { objectsToApply } from './apply.ts';
import { describeProblem } from './problems.ts';

const open = '${';

describe('objects to apply', () => {
  it('come in an order in which each finds what it names, with variables of this environment', () => {
    const text = `kind: McpToken
metadata: { name: t, project: p }
---
kind: Project
metadata: { name: p }
spec: { servers: [a] }
---
kind: Server
metadata: { name: a }
spec: { command: x, args: ["${open}A}", "${open}secret:s.k}", "${open}castellan:node}"] }
`;
    const { objects, problems } = objectsToApply('f.yaml', text, { A: 'one' });
    assert.deepEqual(problems, []);
    assert.deepEqual(
      objects.map(({ kind, metadata, line }) => [kind, metadata, line]),
      [
        ['Server', { name: 'a' }, 8],
        ['Project', { name: 'p' }, 4],
        ['McpToken', { name: 't', project: 'p' }, 1],
      ],
    );
    assert.deepEqual(objects[0]?.spec.args, ['one', `${open}secret:s.k}`, `${open}castellan:node}`]);
  });

  it('fail one by one for a variable, and together for a broken file', () => {
    const text = `kind: Server
metadata: { name: a }
spec: { command: "${open}NONE}" }
---
kind: Server
metadata: { name: b }
spec: { command: x }
`;
    const { objects, problems } = objectsToApply('f.yaml', text, {});
    assert.deepEqual(problems, []);
    assert.match(
      describeProblem(objects[0]!.problems[0]!),
      /^f\.yaml:3: spec\.command: variable NONE is not set/,
    );
    assert.deepEqual(objects[1]?.problems, []);
    assert.equal(objectsToApply('f.yaml', `${text}---\nkind: Nope\n`, {}).problems.length, 1);
  });
});
