import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { type Agent, administrate, type Loose } from './agent.ts';
import { eventually } from './processes.ts';
import type { TestCastellan } from './running-castellan.ts';

export const errorIn = (answer: Loose) => answer.result?._meta?.['castellan/error'];

/** A policy that holds every call of these tools. */
export const holdingPolicy = (tools: readonly string[], more: object = {}) => ({
  kind: 'Policy',
  metadata: { name: 'humans-first' },
  spec: {
    projects: ['*'],
    rules: [{ tools, action: 'approve', selfApproval: 'cli', holdMs: 0, ...more }],
  },
});

/** Makes a call that is held; the id of its approval. */
export async function held(agent: Agent, tool: string, args: object): Promise<string> {
  const answer = await agent.call(tool, args);
  assert.equal(errorIn(answer)?.code, 'APPROVAL_REQUIRED', JSON.stringify(answer));
  return errorIn(answer).approvalId;
}

export async function stateOf(castellan: TestCastellan, id: string): Promise<string> {
  return (await administrate(castellan, 'GET', `/approvals/${id}`)).state;
}

/** The state that an approval comes to in the end. */
export async function endOf(castellan: TestCastellan, id: string): Promise<string> {
  let state = '';
  await eventually(
    `approval ${id} comes to an end`,
    async () => {
      state = await stateOf(castellan, id);
      return !['pending', 'approved', 'executing'].includes(state);
    },
    40_000,
  );
  return state;
}

/** A decision at the API with any credential; the status, and what was answered. */
export async function decide(
  castellan: TestCastellan,
  id: string,
  verb: string,
  { credential, as, body }: { credential?: string; as?: string; body?: object } = {},
): Promise<{ status: number; answer: Loose }> {
  const admin = JSON.parse(await readFile(path.join(castellan.dataDir, 'admin.json'), 'utf8'));
  const response = await fetch(`${castellan.url}/api/v1/approvals/${id}/${verb}`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${credential ?? admin.credential}`,
      'content-type': 'application/json',
      ...(as ? { 'castellan-as': as } : {}),
    },
    body: JSON.stringify(body ?? {}),
  });
  return { status: response.status, answer: await response.json() };
}
