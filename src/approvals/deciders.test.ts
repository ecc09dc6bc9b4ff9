import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { authenticatedCaller, type Principal } from '../identity/caller.ts';
import type { Approval } from './approval.ts';
import { type Decider, refusalToDecide } from './deciders.ts';

const caller = (principal: Principal, owner: string, actor?: Principal) =>
  authenticatedCaller({
    ...{ principal, owner, ceilings: [`User:${owner}` as const], project: '*' },
    surfaces: new Set(['consumer', 'operator'] as const),
    ...(actor && { actor }),
  });
const ANN = caller('User:ann', 'ann');
const BOB = caller('User:bob', 'bob');
const ANNS_TOKEN = caller('McpToken:1', 'ann');
const BOBS_TOKEN = caller('McpToken:2', 'bob');

const heldFor = (selfApproval: 'page' | 'cli' | 'never', approvers: string[] = [], actor?: Principal) =>
  ({
    requester: { principal: 'McpToken:0', owner: 'ann', ceilings: ['User:ann'], actor },
    terms: { selfApproval, approvers },
  }) as unknown as Approval;
const by = (who: Decider['caller'], way: Decider['way'], fresh = false): Decider => ({
  caller: who,
  way,
  fresh,
});
const RIGHT = { approves: true, missing: '', groups: ['oncall'] };
const refused = (approval: Approval, decider: Decider, rights = RIGHT) =>
  refusalToDecide(approval, decider, rights) !== undefined;

describe('who may decide on a call of Ann', () => {
  it('is Bob, as a person and by his token, with the right alone', () => {
    const approval = heldFor('never');
    for (const decider of [by(BOB, 'page'), by(BOB, 'cli'), by(BOBS_TOKEN, 'api'), by(BOBS_TOKEN, 'mcp')]) {
      assert.equal(refused(approval, decider), false, decider.way);
      assert.equal(refused(approval, decider, { ...RIGHT, approves: false }), true, decider.way);
    }
  });

  it('is none of her credentials, whatever the rule says of herself', () => {
    for (const self of ['page', 'cli', 'never'] as const)
      for (const way of ['api', 'mcp'] as const)
        assert.equal(refused(heldFor(self), by(ANNS_TOKEN, way, true)), true, `${self} ${way}`);
  });

  it('is she herself where the rule says, on the page just after she was proven', () => {
    const ways = [by(ANN, 'page', true), by(ANN, 'page'), by(ANN, 'cli')];
    const may = (self: 'page' | 'cli' | 'never') => ways.map((decider) => !refused(heldFor(self), decider));
    assert.deepEqual(may('page'), [true, false, false]);
    assert.deepEqual(may('cli'), [false, false, true]);
    assert.deepEqual(may('never'), [false, false, false]);
    assert.equal(refusalToDecide(heldFor('page'), by(ANN, 'page'), RIGHT)?.needsProof, true);
  });

  it('is nobody through an MCP endpoint in person, and nobody as somebody else', () => {
    assert.equal(refused(heldFor('cli'), by(BOB, 'mcp')), true);
    assert.equal(refused(heldFor('cli'), by(BOB, 'api')), true);
    assert.equal(refused(heldFor('cli'), by(caller('User:bob', 'bob', 'User:ann'), 'cli')), true);
    // Ann asked as Bob's agent would: she is behind the call all the same.
    assert.equal(refused(heldFor('never', [], 'User:bob'), by(BOB, 'page', true)), true);
  });

  it('is whom the rule names, and they need the right as well', () => {
    for (const approvers of [['User:bob'], ['Group:oncall']]) {
      assert.equal(refused(heldFor('never', approvers), by(BOB, 'page')), false);
      assert.equal(
        refused(heldFor('never', approvers), by(BOB, 'page'), { ...RIGHT, approves: false }),
        true,
      );
    }
    assert.equal(refused(heldFor('never', ['User:eve', 'Group:others']), by(BOB, 'page')), true);
    assert.equal(refused(heldFor('cli', ['User:bob']), by(ANN, 'cli'), { ...RIGHT, groups: [] }), true);
  });
});
