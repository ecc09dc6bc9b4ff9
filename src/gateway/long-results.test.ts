import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { quietLogger } from '../../test/support/databases.ts';
import { userCaller } from '../../test/support/identity.ts';
import { newId } from '../base/ids.ts';
import { EVERY_TOOL } from '../identity/tool-rights.ts';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import { projectSpec } from '../resources/project-fields.ts';
import { JsonPath } from '../results/json-path.ts';
import { KeptResults } from '../results/kept-results.ts';
import type { ResultShape } from '../results/result-rules.ts';
import { LongResults, type ShapedTool } from './long-results.ts';
import type { GatewayRequest, Scope } from './scope.ts';

let folder: string;
let kept: KeptResults;
let results: LongResults;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'castellan-long-'));
  kept = new KeptResults(folder, newId('ins'), quietLogger());
  results = new LongResults(kept);
});
after(async () => {
  await kept.close();
  await rm(folder, { recursive: true });
});

const project = { name: 'demo', uid: 'prj_demo', spec: projectSpec({}) };
const scope: Scope = { project, surface: 'consumer', rights: EVERY_TOOL };
const reader = { caller: userCaller('ann@example.com'), scope, revision: '2025-11-25' };
const toolWith = (more: Partial<ResultShape>): ShapedTool => ({
  canonical: 's__t',
  server: 's',
  shape: { jsonPath: undefined, truncate: undefined, maxBytes: undefined, ...more },
});
const text = (value: string) => ({ type: 'text', text: value });
const textsOf = ({ content }: JsonObject) => (content as { text?: string }[]).map((block) => block.text);

describe('results on their way to a model', () => {
  it('that are none yet are left alone', async () => {
    const from = {
      ...reader,
      request: { envelope: { revision: '2026-07-28' } },
    } as unknown as GatewayRequest;
    const long = { content: [text('x'.repeat(5_000))] };
    for (const resultType of ['input_required', 'task']) {
      const outcome = { ok: true, result: { resultType, ...long } } as const;
      assert.equal(await results.shaped(from, toolWith({ maxBytes: 1_024 }), outcome), outcome);
    }
    const failed = { ok: false, error: { code: -32603, message: 'x'.repeat(5_000) } } as const;
    assert.equal(await results.shaped(from, toolWith({ maxBytes: 1_024 }), failed), failed);
    const complete = { ok: true, result: { resultType: 'complete', ...long } } as const;
    assert.notEqual(await results.shaped(from, toolWith({ maxBytes: 1_024 }), complete), complete);
  });

  it('keep structured content where it fits beside a text that does not', async () => {
    const structuredContent = { count: 3 };
    const long = { content: [text('x'.repeat(5_000))], structuredContent };
    const first = await results.result(reader, toolWith({ maxBytes: 1_024 }), long);
    assert.deepEqual(first.structuredContent, structuredContent);
    const { id, sections } = (first._meta as { [key: string]: JsonObject })['castellan/result']!;
    const last = await results.section(reader, String(id), Number(sections));
    assert.ok(last.ok && 'texts' in last);
    assert.match(last.texts[0]!, /x\n\{"count":3\}$/);
  });

  it('say after the part what became of a projection', async () => {
    const compiled = JsonPath.compile('$.absent');
    assert.ok(compiled.ok);
    const tool = toolWith({ jsonPath: compiled.value, maxBytes: 1_024 });
    const whole = { content: [text('{"a":1}'), text('x'.repeat(2_000))] };
    const texts = textsOf(await results.result(reader, tool, whole));
    assert.match(texts[0]!, /^\[\]\nx+$/);
    assert.match(texts.at(-1)!, /has none of what the configuration/);
  });

  it('that cannot be written again are refused as too large', async () => {
    let deep: unknown = 1;
    for (let level = 0; level < 100_000; level += 1) deep = [deep];
    const whole = { content: [], structuredContent: { deep } };
    const refused = await results.result(reader, toolWith({ maxBytes: 1_024 }), whole);
    assert.equal(
      (refused._meta as { [key: string]: JsonObject })['castellan/error']!.code,
      'RESULT_TOO_LARGE',
    );
  });
});
