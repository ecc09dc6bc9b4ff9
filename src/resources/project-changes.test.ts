import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { addedServers, loosenedField } from './project-changes.ts';
import type { ProjectFields } from './project-fields.ts';

const limited = (limit: object): ProjectFields => ({ limits: { user: limit } });

describe('a change of a project', () => {
  it('adds the servers that a surface did not have', () => {
    assert.deepEqual(addedServers(undefined, { servers: ['a'], operatorServers: ['b'] }), ['a', 'b']);
    assert.deepEqual(addedServers({ servers: ['a', 'b'] }, { servers: ['b', 'c'] }), ['c']);
    assert.deepEqual(
      addedServers({ operatorServers: ['a'] }, { servers: ['a'] }),
      ['a'],
      'another surface has other callers',
    );
    assert.deepEqual(addedServers({ servers: ['a'] }, {}), []);
  });

  const loosenings: [string, ProjectFields | undefined, ProjectFields][] = [
    ['spec.defaultAction', { defaultAction: 'deny' }, {}],
    ['spec.newTools', { newTools: 'hold' }, {}],
    ['spec.changedTools', {}, { changedTools: 'warn' }],
    ['spec.audit.intent', {}, { audit: { intent: 'relaxed' } }],
    ['spec.audit.intent', undefined, { audit: { intent: 'relaxed' } }],
    ['spec.audit.arguments', { audit: { arguments: true } }, {}],
    ['spec.limits.user', limited({ calls: 5 }), {}],
    ['spec.limits.user', limited({ calls: 5 }), limited({ calls: 6 })],
    ['spec.limits.user', limited({ calls: 5 }), limited({ calls: 5, per: '30s' })],
    ['spec.limits.user', limited({ calls: 5, per: '1s' }), limited({ calls: 300, per: '1m' })],
    ['spec.limits.user', limited({ calls: 5 }), limited({ concurrent: 1 })],
    ['spec.limits.user', limited({ concurrent: 2 }), limited({ concurrent: 3 })],
    ['spec.limits.user', limited({ concurrent: 2 }), limited({ calls: 1 })],
    ['spec.limits.tool', { limits: { tool: { concurrent: 1 } } }, { limits: {} }],
    ['spec.limits.surface', { limits: { surface: { calls: 9 } } }, { limits: { surface: { calls: 10 } } }],
    ['spec.limits.project', { limits: { project: { concurrent: 1 } } }, limited({ concurrent: 1 })],
  ];
  for (const [field, before, after] of loosenings) {
    it(`loosens ${field}: ${JSON.stringify(before)} to ${JSON.stringify(after)}`, () =>
      assert.equal(loosenedField(before, after), field));
  }

  const others: [ProjectFields | undefined, ProjectFields][] = [
    [undefined, {}],
    [undefined, { defaultAction: 'deny', limits: { user: { calls: 5 } }, audit: { arguments: true } }],
    [{}, { defaultAction: 'deny', audit: { intent: 'strict', arguments: true } }],
    [{ audit: { intent: 'relaxed' } }, { audit: { intent: 'relaxed' } }],
    [{ audit: { intent: 'relaxed' } }, {}],
    [{ changedTools: 'warn' }, { newTools: 'hold', changedTools: 'hold' }],
    [limited({ calls: 60, per: '1m' }), limited({ calls: 1, per: '1s' })],
    [limited({ calls: 60 }), limited({ calls: 60, concurrent: 1 })],
    [{}, limited({ concurrent: 9 })],
  ];
  for (const [before, after] of others) {
    it(`loosens nothing: ${JSON.stringify(before)} to ${JSON.stringify(after)}`, () =>
      assert.equal(loosenedField(before, after), undefined));
  }
});
