import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { test } from 'node:test';
import { newAgent } from '../support/agent.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const HANDSHAKES = 20_000;
const WARM_UP = 6_000;
/** So many one credential may begin at once. */
const OF_ONE = 1_000;
const AT_ONCE = 32;
const MAX_GROWTH_BYTES = 32 * 1024 * 1024;

test('20,000 handshakes leave memory as it was, and an older session goes on', async () => {
  await using castellan = await startCastellan();
  const agent = await newAgent(castellan, 'demo');
  const first = await agent.openSession();
  const others = Array.from({ length: (WARM_UP + HANDSHAKES) / OF_ONE }, () => newAgent(castellan, 'demo'));
  const flooding = await Promise.all(others);
  const connections = new Agent({ keepAlive: true, maxSockets: AT_ONCE });
  // After this the process has what it keeps for itself.
  await flood(connections, flooding.splice(0, WARM_UP / OF_ONE));
  const before = await memoryOf(castellan);
  await flood(connections, flooding);
  const grown = (await memoryOf(castellan)) - before;
  connections.destroy();
  assert.ok(grown < MAX_GROWTH_BYTES, `grew by ${grown} bytes`);
  const listed = await agent.ask('tools/list', {}, first);
  assert.ok(Array.isArray(listed.result?.tools), JSON.stringify(listed));
});

async function flood(agent: Agent, of: readonly { url: string; token: string | undefined }[]): Promise<void> {
  const clientInfo = { name: 'x'.repeat(2_000), version: '1' };
  const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 0, method: 'initialize', params });
  const open = (url: string, token: string | undefined) =>
    new Promise<void>((resolve, reject) => {
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
      const sent = request(url, { method: 'POST', agent, headers }, (response) => {
        response.resume().on('end', () => {
          if (response.headers['mcp-session-id']) resolve();
          else reject(new Error(`HTTP ${response.statusCode}`));
        });
      });
      sent.on('error', reject).end(body);
    });
  let begun = 0;
  const worker = async () => {
    for (let at = begun++; at < of.length * OF_ONE; at = begun++) {
      const { url, token } = of[Math.floor(at / OF_ONE)]!;
      await open(url, token);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

async function memoryOf(castellan: TestCastellan): Promise<number> {
  const metrics = await (await fetch(`${castellan.url}/metrics`)).text();
  return Number(/^process_resident_memory_bytes (\d+)$/m.exec(metrics)?.[1]);
}
