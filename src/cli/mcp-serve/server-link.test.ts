import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import type { Access } from '../server-client.ts';
import { LinkFault, ServerLink } from './server-link.ts';

/** A server that takes one credential alone, and keeps those that came. */
async function guarded(taken: string, port = 0) {
  const seen: string[] = [];
  const server: Server = createServer((request, response) => {
    const credential = (request.headers.authorization ?? '').replace('Bearer ', '');
    seen.push(credential);
    response.writeHead(credential === taken ? 200 : 401).end();
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return {
    seen,
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const at = (port: number, credential: string): Access => ({
  url: new URL(`http://127.0.0.1:${port}`),
  credential,
});
const sent = () => ({ method: 'POST', body: '{}', signal: AbortSignal.timeout(10_000) }) as const;

describe('a link', () => {
  it('asks for another credential once when one is refused, for all requests at once', async () => {
    await using server = await guarded('new');
    const refused: (string | undefined)[] = [];
    const find = async (credential?: string) => {
      refused.push(credential);
      return at(server.port, 'new');
    };
    const link = new ServerLink(find, at(server.port, 'old'));
    const answers = await Promise.all([link.send('/', sent()), link.send('/', sent())]);
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200],
    );
    assert.deepEqual(refused, ['old']);
    assert.deepEqual(server.seen.toSorted(), ['new', 'new', 'old', 'old']);
  });

  it('gives the refusal where there is no other credential, or that one is refused too', async () => {
    await using server = await guarded('none');
    const same = new ServerLink(async () => at(server.port, 'old'), at(server.port, 'old'));
    assert.equal((await same.send('/', sent())).status, 401);
    assert.deepEqual(server.seen.splice(0), ['old']);
    const worse = new ServerLink(async () => at(server.port, 'worse'), at(server.port, 'old'));
    assert.equal((await worse.send('/', sent())).status, 401);
    assert.deepEqual(server.seen, ['old', 'worse']);
  });

  it('finds a server that has started elsewhere', async () => {
    const gone = await guarded('same');
    await gone[Symbol.asyncDispose]();
    await using server = await guarded('same');
    const link = new ServerLink(async () => at(server.port, 'same'), at(gone.port, 'same'));
    assert.equal((await link.send('/', sent())).status, 200);
  });

  it('says that nothing was sent where nobody listens', async () => {
    const gone = await guarded('same');
    await gone[Symbol.asyncDispose]();
    const link = new ServerLink(async () => at(gone.port, 'same'), at(gone.port, 'same'));
    await assert.rejects(link.send('/', { ...sent(), patient: false }), (error) => {
      assert.ok(error instanceof LinkFault);
      assert.equal(error.sent, false);
      return true;
    });
  });

  it('stops waiting when its request is given up', async () => {
    const gone = await guarded('same');
    await gone[Symbol.asyncDispose]();
    const link = new ServerLink(async () => at(gone.port, 'same'), at(gone.port, 'same'));
    const stop = new AbortController();
    const sending = link.send('/', { ...sent(), signal: stop.signal });
    stop.abort();
    await assert.rejects(sending, { name: 'AbortError' });
  });
});
