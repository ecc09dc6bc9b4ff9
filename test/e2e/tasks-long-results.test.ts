import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CallToolResultSchema } from '@modelcontextprotocol/sdk/types.js';
import type { Loose } from '../support/agent.ts';
import { LONG_TEXT } from '../support/legacy-task-server.ts';
import { oldClient, state, WITH_TASKS, wire } from '../support/tasks-rig.ts';

const LABEL = Array.from({ length: 300 }, (_, at) => `label ${at}`).join('\n');

type Ask = (id: string, section: number) => Promise<Loose>;

/** The text that a first part and those after it make. */
async function wholeText(first: Loose, ask: Ask): Promise<string> {
  const part = first._meta?.['castellan/result'];
  assert.ok(part?.id, JSON.stringify(first).slice(0, 300));
  assert.ok(Buffer.byteLength(first.content[0].text) <= 1_024);
  let text = first.content[0].text;
  for (let section = 2; section <= part.sections; section += 1)
    text += (await ask(part.id, section)).content[0].text;
  return text;
}

describe('the long result of a task comes in parts', () => {
  test('with its state, and where its caller is told of it', async () => {
    const client = await wire('modern', 'short');
    const ask: Ask = async (id, section) =>
      (await client.callTool('read_result', { id, section }, WITH_TASKS)).at(-1)!.result;
    const begin = async (name: string, args: object) =>
      (await client.callTool(name, args as never, WITH_TASKS)).at(-1)!.result!.taskId;
    const written = await state(client, await begin('writes', {}), 'completed', WITH_TASKS);
    assert.equal(await wholeText(written.result, ask), LONG_TEXT);
    const taskId = await begin('slow_compute', { seconds: 1, label: LABEL });
    using heard = await client.listen({ taskIds: [taskId] }, WITH_TASKS);
    const told = await heard.until('the end', (one) => one.params?.status === 'completed');
    assert.equal(await wholeText(told.params?.result, ask), `computed ${LABEL}`);
    const computed = await state(client, taskId, 'completed', WITH_TASKS);
    assert.equal(await wholeText(computed.result, ask), `computed ${LABEL}`);
  });

  test('to clients of 2025-11-25 that fetch it, or that call without a task', async () => {
    const client = await oldClient('short');
    const ask: Ask = (id, section) =>
      client.callTool({ name: 'read_result', arguments: { id, section } }) as Promise<Loose>;
    let result: Loose;
    const call = { name: 'writes', arguments: {} };
    for await (const message of client.experimental.tasks.callToolStream(call, CallToolResultSchema, {
      task: {},
    }))
      if (message.type === 'result') result = message.result;
    assert.equal(await wholeText(result, ask), LONG_TEXT);
    const held = await client.callTool({ name: 'slow_compute', arguments: { seconds: 0, label: LABEL } });
    assert.equal(await wholeText(held, ask), `computed ${LABEL}`);
    await client.close();
  });
});
