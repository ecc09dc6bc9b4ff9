import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import type { Message } from '../support/agent.ts';
import { EndpointRig, echo, errorOf } from '../support/endpoint-rig.ts';

const BODY_CAP = 4 * 1024 * 1024;

let rig: EndpointRig;

before(async () => {
  rig = await EndpointRig.start();
});
after(async () => {
  await rig[Symbol.asyncDispose]();
});

describe('bodies', () => {
  test('other media types and codings: 415, nothing forwarded', async () => {
    const before = rig.forwarded();
    const body = JSON.stringify(echo('type'));
    const types = [
      'text/plain',
      'application/jsonx',
      'application/json;charset=utf-16',
      'application/json; charset=utf-8; charset=utf-16',
      'multipart/form-data; boundary=x',
      'application/x-www-form-urlencoded',
      '',
    ];
    for (const type of types) {
      const response = await rig.agent.send(body, { headers: { 'content-type': type } });
      assert.equal(response.status, 415, type);
    }
    for (const coding of ['gzip', 'br', 'zstd', 'deflate', 'identity, gzip']) {
      const compressed = gzipSync(Buffer.alloc(10 << 20, ' '));
      const response = await rig.agent.send(compressed.toString('latin1'), {
        headers: { 'content-encoding': coding },
      });
      assert.equal(response.status, 415, coding);
    }
    assert.equal(rig.forwarded(), before);
    for (const type of [
      'APPLICATION/JSON',
      'application/json; charset=UTF-8',
      'application/json;charset="utf-8"',
    ]) {
      assert.equal((await rig.agent.send(body, { headers: { 'content-type': type } })).status, 200, type);
    }
  });

  test('over the cap, announced or not: 413 that names it, memory flat', async () => {
    const residents = async () =>
      Number(
        /VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${rig.castellan.process.pid}/status`, 'utf8'))?.[1],
      ) / 1024;
    const before = await residents();
    const fits = JSON.stringify(echo('y'));
    const padded = fits + ' '.repeat(BODY_CAP - fits.length);
    assert.equal((await rig.agent.send(padded)).status, 200);
    const announced = await rig.agent.send(`${padded} `);
    assert.equal(announced.status, 413);
    assert.match(await announced.text(), new RegExp(`${BODY_CAP}`));

    const { host } = new URL(rig.castellan.url);
    const head = [
      'POST /projects/p/mcp HTTP/1.1',
      `host: ${host}`,
      rig.authorization(),
      'content-type: application/json',
    ];
    const piece = Buffer.alloc(1 << 20, ' ');
    const pieces = Array.from({ length: 200 }, () =>
      Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]),
    );
    const chunked = await rig.raw(
      `${[...head, 'transfer-encoding: chunked'].join('\r\n')}\r\n\r\n`,
      ...pieces,
    );
    assert.equal(chunked.status, 413);
    const lying = await rig.raw(`${[...head, 'content-length: 99999999999'].join('\r\n')}\r\n\r\n${fits}`);
    assert.equal(lying.status, 413);
    const both = await rig.raw(
      `${[...head, 'content-length: 5', 'transfer-encoding: chunked'].join('\r\n')}\r\n\r\n0\r\n\r\n`,
    );
    assert.equal(both.status, 400);
    const grown = (await residents()) - before;
    assert.ok(grown < 50, `${grown} MB more`);
  });

  test('what is no single JSON-RPC message: 400 with a JSON-RPC error, nothing forwarded', async () => {
    const before = rig.forwarded();
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    const call = JSON.stringify(echo('z'));
    const cases: [string, number][] = [
      ['[]', -32600],
      [`[${call}]`, -32600],
      [`[[${call}]]`, -32600],
      [`[${Array(10_000).fill(call).join(',')}]`, -32600],
      ['', -32700],
      ['{"jsonrpc":"2.0"', -32700],
      ['{"\\x":1}', -32700],
      ['{"a\\', -32700],
      [`\uFEFF${call}`, -32700],
      ['null', -32600],
      ['"text"', -32600],
      [deep, -32600],
      [`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"a":${deep}}}`, -32600],
      [call.replace('"method"', '"method":"ping","method"'), -32600],
      [call.replace('"name"', '"name":"modern__echo","name"'), -32600],
      [call.replace('"name"', '"n\\u0061me":"modern__echo","name"'), -32600],
      [call.replace('"2.0"', '"1.0"'), -32600],
      [call.replace('"id":1', '"id":null'), -32600],
      [call.replace('"id":1', '"id":1.5'), -32600],
      [call.replace('"id":1', '"id":9007199254740993'), -32600],
      [call.replace('"id":1', '"id":{}'), -32600],
      ['{"jsonrpc":"2.0","id":1,"method":"tools/list","params":[]}', -32600],
    ];
    for (const [body, code] of cases) {
      const error = await errorOf(await rig.agent.send(body));
      assert.deepEqual([error.status, error.code], [400, code], body.slice(0, 80));
    }
    const bytes = Buffer.concat([
      Buffer.from('{"jsonrpc":"2.0","id":"'),
      Buffer.from([0xff]),
      Buffer.from('"}'),
    ]);
    const { host } = new URL(rig.castellan.url);
    const head = [
      'POST /projects/p/mcp HTTP/1.1',
      `host: ${host}`,
      rig.authorization(),
      'content-type: application/json',
    ];
    const invalid = await rig.raw(
      `${[...head, `content-length: ${bytes.length}`, 'connection: close'].join('\r\n')}\r\n\r\n`,
      bytes,
    );
    assert.equal(invalid.status, 400);
    assert.equal(rig.forwarded(), before);
  });

  test('ids come back as they were sent, and answers go to whom they belong', async () => {
    for (const id of ['', '1', 0, -1, 9007199254740991, 'x'.repeat(100_000), '\u0000"\\']) {
      const answer = (await (await rig.agent.send(echo('id', id))).json()) as Message;
      assert.deepEqual(answer.id, id);
    }
    const rounds = Array.from({ length: 300 }, async (_, number) => {
      const who = [rig.agent, rig.other][number % 2]!;
      const answer = (await (await who.send(echo(`${number}`, 7))).json()) as Message;
      assert.deepEqual(JSON.parse(answer.result?.content[0].text), { text: `${number}` });
    });
    await Promise.all(rounds);
  });
});
