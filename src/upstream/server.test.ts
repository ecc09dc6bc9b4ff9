import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { idOf, ScriptedUpstream, sendJson } from '../../test/support/scripted-upstream.ts';
import { ServerClient } from '../net/server-client.ts';
import { NOTHING_RELAYED } from '../protocol/input-requests.ts';
import type { Era } from '../protocol/revisions.ts';
import type { ServerEntry, ServerSpec } from '../resources/spec.ts';
import type { Circle } from './circle.ts';
import { HttpTransport } from './http-transport.ts';
import { UpstreamServer } from './server.ts';
import { Slots } from './slots.ts';

const DAY_MS = 24 * 3_600_000;
const CIRCLE: Circle = { owner: 'ann', principal: 'ann', session: 'principal:ann', relayed: NOTHING_RELAYED };

/** A server whose era changes when a test says so; calls wait while `held` is a promise. */
class Changing implements AsyncDisposable {
  era: Era;
  held: Promise<void> | undefined;
  probes = 0;
  /** Calls that arrived. */
  calls = 0;
  readonly server: UpstreamServer;
  readonly #http: ScriptedUpstream;
  readonly #client = new ServerClient();

  private constructor(era: Era, http: ScriptedUpstream) {
    this.era = era;
    this.#http = http;
    const spec = {
      target: { type: 'http', url: http.origin, headers: {} },
      protocol: 'auto',
      lifecycle: { callTimeoutMs: 5_000, idleTimeoutMs: 600_000, maxResultBytes: 1_000_000 },
    } as unknown as ServerSpec;
    const refuse = () => assert.fail('it is an HTTP server');
    this.server = new UpstreamServer({
      entry: { name: 'x', spec, fingerprint: 'f' } as ServerEntry & { spec: ServerSpec },
      self: { name: 'castellan', version: '1' },
      slots: new Slots(4),
      transports: () => ({
        stdio: refuse,
        sse: refuse,
        http: (events) =>
          new HttpTransport({ url: http.origin, headers: {}, client: this.#client, serverName: 'x' }, events),
      }),
      onCatalogueChange: () => {},
      onSessionNotice: () => {},
      holdSession: async () => true,
      onSessionLost: () => {},
      beginHealthCall: async () => undefined,
    });
  }

  static async start(era: Era): Promise<Changing> {
    const box: { it?: Changing } = {};
    const http = await ScriptedUpstream.start((seen, response) => box.it!.#answer(seen, response));
    box.it = new Changing(era, http);
    return box.it;
  }

  call() {
    return this.server.call(CIRCLE, { method: 'tools/call', params: { name: 't' } });
  }

  /** Calls until it has the connection that it keeps: who is modern is shared, which the first dial shows. */
  async use(): Promise<void> {
    for (const _ of [1, 2]) assert.equal((await this.call()).ok, true);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.close();
    await this.#client[Symbol.asyncDispose]();
    await this.#http[Symbol.asyncDispose]();
  }

  async #answer(seen: Parameters<typeof idOf>[0], response: Parameters<typeof sendJson>[0]): Promise<void> {
    const { method, params } = seen.body === '' ? {} : JSON.parse(seen.body);
    const answer = (result: object) => sendJson(response, { jsonrpc: '2.0', id: idOf(seen), result });
    const modern = params?._meta?.['io.modelcontextprotocol/protocolVersion'] !== undefined;
    if (method === 'server/discover') this.probes += 1;
    if (idOf(seen) === undefined) response.writeHead(seen.method === 'POST' ? 202 : 405).end();
    else if (modern !== (this.era === 'modern') && method !== 'initialize') {
      sendJson(response, { jsonrpc: '2.0', id: null, error: { code: -32000, message: 'what?' } }, 400);
    } else if (method === 'initialize') {
      const serverInfo = { name: 'x', version: '1' };
      if (this.era === 'modern') sendJson(response, 'no', 400);
      else answer({ protocolVersion: '2025-11-25', capabilities: {}, serverInfo });
    } else if (method === 'server/discover') {
      answer({ resultType: 'complete', supportedVersions: ['2026-07-28'], capabilities: {} });
    } else {
      this.calls += 1;
      await this.held;
      answer({ resultType: 'complete', content: [] });
    }
  }
}

describe('the era of a server', () => {
  for (const [before, now] of [
    ['legacy', 'modern'],
    ['modern', 'legacy'],
  ] as const) {
    test(`${before} becomes ${now}: found out after a day, and a call under way is not disturbed`, async () => {
      await using it = await Changing.start(before);
      await it.use();
      assert.equal(it.server.era, before);
      const gate = Promise.withResolvers<void>();
      it.held = gate.promise;
      const underWay = it.call();
      await eventually(() => it.calls === 3);
      it.era = now;
      it.server.sweep(Date.now() + DAY_MS - 60_000);
      const { probes } = it;
      it.server.sweep(Date.now() + DAY_MS + 1_000);
      await eventually(() => it.server.era !== before);
      assert.equal(it.probes, probes + 1);
      it.held = undefined;
      assert.equal((await it.call()).ok, true);
      assert.equal(it.server.era, now);
      gate.resolve();
      assert.equal((await underWay).ok, true);
    });
  }

  test('modern becomes legacy: found out by the first call that it does not understand', async () => {
    await using it = await Changing.start('modern');
    await it.use();
    it.era = 'legacy';
    assert.equal((await it.call()).ok, false);
    await eventually(() => it.server.era !== 'modern');
    assert.equal((await it.call()).ok, true);
  });

  test('one that stays the same is asked once a day', async () => {
    await using it = await Changing.start('modern');
    await it.use();
    const { probes } = it;
    const { probedAt } = it.server.status();
    const gate = Promise.withResolvers<void>();
    it.held = gate.promise;
    const underWay = it.call();
    await eventually(() => it.calls === 3);
    it.server.sweep(Date.now() + DAY_MS + 1_000);
    await eventually(() => it.server.status().probedAt !== probedAt);
    it.server.sweep(Date.now() + DAY_MS + 60_000);
    assert.equal(it.probes, probes + 1);
    gate.resolve();
    assert.equal((await underWay).ok, true);
  });
});

async function eventually(look: () => boolean): Promise<void> {
  const deadline = Date.now() + 5_000;
  while (!look()) {
    assert.ok(Date.now() < deadline, 'it did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
