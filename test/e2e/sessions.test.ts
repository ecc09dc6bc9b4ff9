import assert from 'node:assert/strict';
import { test } from 'node:test';
import { temporaryFolder } from '../support/databases.ts';
import { startCastellan } from '../support/running-castellan.ts';

test('a legacy session goes on after a restart with the same id, and ends for good with DELETE', async () => {
  const dataDir = await temporaryFolder();
  let url: string;
  let token: string;
  const send = (method: string, body: object | undefined, session?: string) =>
    fetch(url, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        ...(session === undefined ? {} : { 'mcp-session-id': session }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
  const call = { name: 'everything__echo', arguments: { message: 'still here' } };
  const request = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: call };
  let session: string;
  {
    await using castellan = await startCastellan(undefined, { dataDir });
    url = `${castellan.url}/projects/demo/mcp`;
    token = /cst_pat_\w+/.exec(castellan.stderr())?.[0] ?? '';
    const clientInfo = { name: 'test', version: '1' };
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo };
    const opened = await send('POST', { jsonrpc: '2.0', id: 0, method: 'initialize', params });
    session = opened.headers.get('mcp-session-id') ?? '';
    assert.equal((await send('POST', request, session)).status, 200);
  }
  await using castellan = await startCastellan(undefined, { dataDir });
  url = `${castellan.url}/projects/demo/mcp`;
  const answer = (await (await send('POST', request, session)).json()) as { result: { content: unknown } };
  assert.deepEqual(answer.result.content, [{ type: 'text', text: 'Echo: still here' }]);
  assert.equal((await send('DELETE', undefined, session)).status, 204);
  assert.equal((await send('POST', request, session)).status, 404);
});
