import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { describe, test } from 'node:test';
import { promisify } from 'node:util';
import type { Worker } from 'node:worker_threads';
import { temporaryFolder } from '../../test/support/databases.ts';
import { localhostCertificate, localhostKey } from '../../test/support/localhost-certificate.ts';
import { eventually } from '../../test/support/processes.ts';
import { ScriptedUpstream } from '../../test/support/scripted-upstream.ts';
import { Load, type ReplyReader } from './reply.ts';
import { type Send, ServerClient } from './server-client.ts';
import { ServerThread } from './server-thread-client.ts';

type Reply = { status: number; body: string } | { error: unknown; sent: boolean };

/** Keeps what it hears, and resolves at the end. */
class Heard implements ReplyReader {
  readonly reply: Promise<Reply>;
  abort = () => {};
  pieces = 0;
  bytes = 0;
  #status = 0;
  #body: Buffer[] = [];
  #settle!: (reply: Reply) => void;

  constructor() {
    this.reply = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  begun(abort: () => void): void {
    this.abort = abort;
  }

  head({ status }: { status: number }): void {
    this.#status = status;
  }

  data(chunk: Buffer): boolean {
    this.pieces += 1;
    this.#body.push(chunk);
    return true;
  }

  end(): void {
    this.#settle({ status: this.#status, body: Buffer.concat(this.#body).toString() });
  }

  whole({ status }: { status: number }, body: string, bytes: number): void {
    this.bytes = bytes;
    this.#settle({ status, body });
  }

  failed(error: Error, sent: boolean): void {
    this.#settle({ error: 'code' in error && error.code ? error.code : error.message, sent });
  }
}

class Rig implements AsyncDisposable {
  readonly thread: ServerThread;
  readonly upstream: ScriptedUpstream;
  readonly load = new Load();
  worker!: Worker;
  ended = 0;

  private constructor(upstream: ScriptedUpstream) {
    this.upstream = upstream;
    process.once('worker', (worker) => {
      this.worker = worker;
    });
    this.thread = new ServerThread(() => {
      this.ended += 1;
    });
  }

  static async start(...script: Parameters<typeof ScriptedUpstream.start>): Promise<Rig> {
    const rig = new Rig(await ScriptedUpstream.start(...script));
    await eventually('the thread has started', () => rig.thread.ready);
    return rig;
  }

  get(path = '/', origin = this.upstream.origin): Heard {
    const heard = new Heard();
    this.thread.send(origin, { method: 'GET', path }, heard, this.load);
    return heard;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.thread.end();
    await this.upstream[Symbol.asyncDispose]();
  }
}

describe('a thread that sends requests', () => {
  test('brings a long reply in pieces, each byte once', async () => {
    const text = Array.from({ length: 400_000 }, (_, at) => `${at} ü `).join('');
    await using it = await Rig.start((_seen, response) => void response.end(text));
    const heard = it.get();
    assert.deepEqual(await heard.reply, { status: 200, body: text });
    assert.ok(heard.pieces > 1);
    const [first, second] = [it.get(), it.get()];
    assert.deepEqual(await first.reply, await second.reply);
  });

  test('counts the bytes that came, whatever their text is', async () => {
    await using it = await Rig.start((_seen, response) => void response.end(Buffer.alloc(60, 0xff)));
    const heard = it.get();
    assert.deepEqual(await heard.reply, { status: 200, body: '\ufffd'.repeat(60) });
    assert.equal(heard.bytes, 60);
  });

  test('takes on how Node was told to work', async () => {
    await using upstream = await ScriptedUpstream.start((_seen, response) => {
      response.writeHead(200, { 'x-long': 'x'.repeat(30_000) }).end('read');
    });
    const script = `
      import { ServerThread } from ${JSON.stringify(import.meta.resolve('./server-thread-client.ts'))};
      const thread = new ServerThread(() => {});
      const say = (what) => { console.log(what); void thread.end(); };
      const reader = { begun() {}, whole: (_head, body) => say(body), failed: (error) => say(error.code) };
      const load = { begin() {}, end() {} };
      thread.send(${JSON.stringify(upstream.origin)}, { method: 'GET', path: '/' }, reader, load);`;
    const env = { ...process.env, NODE_OPTIONS: '--max-http-header-size=65536' };
    const file = path.join(await temporaryFolder(), 'ask.mjs');
    await writeFile(file, script);
    assert.equal((await promisify(execFile)(process.execPath, [file], { env })).stdout.trim(), 'read');
  });

  test('a reader that fails costs nobody else a reply', async () => {
    await using it = await Rig.start((seen, response) => {
      if (seen.url === '/pieces') response.write('one');
      else response.end('whole');
    });
    const broken = it.get('/pieces');
    broken.head = () => {
      throw new TypeError('broken');
    };
    const brokenAtEnd = it.get('/whole');
    brokenAtEnd.whole = () => {
      throw new TypeError('broken too');
    };
    const others = await Promise.all(Array.from({ length: 20 }, () => it.get('/whole').reply));
    for (const reply of others) assert.deepEqual(reply, { status: 200, body: 'whole' });
    assert.deepEqual(await broken.reply, { error: 'broken', sent: true });
    assert.deepEqual(await brokenAtEnd.reply, { error: 'broken too', sent: true });
    await eventually('both are over', () => it.load.running === 0);
  });

  test('calls off what is under way, and nothing else', async () => {
    await using it = await Rig.start((seen, response) => {
      if (seen.url === '/now') response.end('now');
    });
    const over = it.get('/now');
    assert.deepEqual(await over.reply, { status: 200, body: 'now' });
    const hanging = it.get('/never');
    await eventually('it was sent', () => it.upstream.requests.length === 2);
    // Its number in the thread is the other's by now.
    over.abort();
    assert.deepEqual(await it.get('/now').reply, { status: 200, body: 'now' });
    assert.equal(it.load.running, 1);
    hanging.abort();
    assert.deepEqual(await hanging.reply, { error: 'UND_ERR_ABORTED', sent: true });
    assert.equal(it.load.running, 0);
    const early = it.get('/never');
    early.abort();
    assert.ok('error' in (await early.reply));
  });

  test('says whether a request that failed was sent', async () => {
    await using it = await Rig.start((_seen, response) => void response.destroy());
    assert.deepEqual(await it.get().reply, { error: 'UND_ERR_SOCKET', sent: true });
    assert.deepEqual(await it.get('/', 'http://127.0.0.1:1').reply, { error: 'ECONNREFUSED', sent: false });
  });

  test('closes the sockets to an origin that nobody needs any more', async () => {
    await using it = await Rig.start((_seen, response) => void response.end());
    await it.get().reply;
    assert.equal(it.upstream.sockets.size, 1);
    it.thread.close(it.upstream.origin);
    await eventually('it is closed', () => it.upstream.sockets.size === 0);
    assert.deepEqual(await it.get().reply, { status: 200, body: '' });
  });

  test('trusts no certificate that the environment tells it to', async () => {
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
    const options = { cert: localhostCertificate, key: localhostKey };
    const server = createServer(options, (_request, response) => void response.end('secure'));
    await new Promise<void>((resolve) => server.listen(0, resolve));
    try {
      await using it = await Rig.start(() => {});
      const origin = `https://localhost:${(server.address() as AddressInfo).port}`;
      const reply = await it.get('/', origin).reply;
      assert.deepEqual(reply, { error: 'DEPTH_ZERO_SELF_SIGNED_CERT', sent: false });
    } finally {
      delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
      server.closeAllConnections();
      server.close();
    }
  });

  test('that dies may have sent what was under way', async () => {
    await using it = await Rig.start(() => {});
    const hanging = it.get();
    await eventually('it was sent', () => it.upstream.requests.length === 1);
    await it.worker.terminate();
    assert.deepEqual(await hanging.reply, { error: 'the thread ended', sent: true });
    assert.equal(it.load.running, 0);
    assert.equal(it.ended, 1);
  });
});

describe('a server client with much to do', () => {
  /** Resolves when every lane has sent its share. */
  async function rush(send: Send, lanes: number, each: number): Promise<void> {
    const lane = async () => {
      for (let turn = 0; turn < each; turn += 1) {
        const heard = new Heard();
        assert.ok(send({ method: 'GET', path: '/' }, heard));
        assert.deepEqual(await heard.reply, { status: 200, body: 'hi' });
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
  }

  test('sends from a thread until there is less, and from another one when it died', async () => {
    await using upstream = await ScriptedUpstream.start((_seen, response) => void response.end('hi'));
    await using client = new ServerClient(4);
    const { call } = client.lease(upstream.origin);
    const workers: Worker[] = [];
    const count = (worker: Worker) => void workers.push(worker);
    process.on('worker', count);
    try {
      await rush(call, 1, 600);
      await rush(call, 16, 8);
      assert.equal(workers.length, 0, 'neither many in a row nor a moment of many at once need one');
      await rush(call, 16, 100);
      assert.equal(workers.length, 1);
      await rush(call, 1, 10);
      await workers[0]!.terminate();
      await rush(call, 16, 100);
      assert.equal(workers.length, 2);
    } finally {
      process.off('worker', count);
    }
  });
});
