import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { administrate, Events, type Loose, newAgent } from '../support/agent.ts';
import { EndpointRig, echo, hostile, LIST } from '../support/endpoint-rig.ts';
import { eventually } from '../support/processes.ts';

let rig: EndpointRig;

before(async () => {
  rig = await EndpointRig.start();
});
after(async () => {
  await rig[Symbol.asyncDispose]();
});

describe('streams', () => {
  const notifications = {
    toolsListChanged: true,
    resourceSubscriptions: ['file:///etc/passwd'],
  };
  const subscriptionOf = (message: Loose) =>
    (message.params ?? message.result)._meta['io.modelcontextprotocol/subscriptionId'];

  test('a subscription is acknowledged first, with what is honoured, and hears of changes', async () => {
    await rig.agent.call('changing__echo');
    const { body, headers } = rig.agent.modern('subscriptions/listen', { notifications }, 'sub-1');
    const client = new AbortController();
    const stream = new Events(await rig.agent.send(body, { headers, signal: client.signal }));
    const quiet = rig.agent.modern(
      'subscriptions/listen',
      { notifications: { promptsListChanged: true } },
      'sub-2',
    );
    const silent = new Events(
      await rig.agent.send(quiet.body, { headers: quiet.headers, signal: client.signal }),
    );
    const session = await rig.agent.openSession();
    const old = new Events(
      await rig.agent.send(undefined, { method: 'GET', headers: session, signal: client.signal }),
    );
    await eventually(
      'the acknowledgement',
      () => stream.messages.length === 1 && silent.messages.length === 1,
    );
    const [first] = stream.messages;
    assert.equal(first!.method, 'notifications/subscriptions/acknowledged');
    assert.deepEqual(first!.params?.notifications, { toolsListChanged: true });

    await rig.agent.call('changing__grow');
    await eventually('the change is announced', () => stream.messages.length > 1 && old.messages.length > 0);
    assert.deepEqual(
      stream.messages.map((one) => [one.method, subscriptionOf(one)]),
      [
        ['notifications/subscriptions/acknowledged', 'sub-1'],
        ['notifications/tools/list_changed', 'sub-1'],
      ],
      'fifty notices in a burst are one',
    );
    assert.ok(old.messages.some((one) => one.method === 'notifications/tools/list_changed'));
    const heard = silent.messages.map((one) => one.method);
    assert.ok(!heard.includes('notifications/tools/list_changed'), 'only what was asked for');
    const { result } = await rig.agent.ask('tools/list');
    assert.ok(result?.tools.some((tool: Loose) => tool.name.startsWith('changing__grown')));
    client.abort();
    await eventually('all are gone', async () => (await rig.openStreams()) === 0);
  });

  test('a stream follows its project: it hears of a reload, and then of the servers that came with it', async () => {
    const file = path.join(rig.folder, 'config.json');
    const objects = JSON.parse(await readFile(file, 'utf8')) as Loose[];
    const client = new AbortController();
    const other = await newAgent(rig.castellan, 'q');
    const { body, headers } = other.modern('subscriptions/listen', { notifications }, 9);
    const stream = new Events(await other.send(body, { headers, signal: client.signal }));
    await eventually('it listens', () => stream.messages.length === 1);
    const spec = hostile(rig.folder, 'late');
    objects.unshift({ apiVersion: 'castellan/v1', kind: 'Server', metadata: { name: 'late' }, spec });
    objects.find((one) => one.kind === 'Project' && one.metadata.name === 'q').spec.servers.push('late');
    await writeFile(file, JSON.stringify(objects));
    await administrate(rig.castellan, 'POST', '/reload');
    await eventually('the reload is announced', () => stream.messages.length > 1);
    await other.call('late__echo');
    await eventually('its first list is announced', () => stream.messages.length > 2);
    const heard = stream.messages.length;
    await other.call('late__grow');
    await eventually('its change is announced', () => stream.messages.length > heard);
    client.abort();
    await eventually('all are gone', async () => (await rig.openStreams()) === 0);
  });

  test('one principal holds so many streams and no more; others are not affected', async () => {
    const greedy = await newAgent(rig.castellan, 'p');
    const client = new AbortController();
    const listen = () => {
      const { body, headers } = greedy.modern('subscriptions/listen', { notifications });
      return greedy.send(body, { headers, signal: client.signal });
    };
    const streams = await Promise.all(Array.from({ length: 300 }, listen));
    const refused = streams.filter((one) => one.status !== 200);
    assert.ok(
      refused.length >= 40 && refused.every((one) => one.status === 429 && one.headers.get('retry-after')),
    );
    assert.equal((await rig.agent.send(echo('fine'))).status, 200);
    client.abort();
    await eventually('all are gone', async () => (await rig.openStreams()) === 0);
    assert.equal((await greedy.send(LIST)).status, 200);
  });

  test('a revoked token is refused at once and its streams and calls end', async () => {
    const doomed = await newAgent(rig.castellan, 'p');
    const { body, headers } = doomed.modern('subscriptions/listen', { notifications });
    const stream = new Events(await doomed.send(body, { headers }));
    const session = await doomed.openSession();
    const old = new Events(await doomed.send(undefined, { method: 'GET', headers: session }));
    const before = rig.modern.calls.length;
    const held = doomed.sendModern('tools/call', { name: 'modern__hold', arguments: {} });
    held.catch(() => undefined);
    const call = await rig.modern.arrival(before);
    const ticking = doomed.modern('tools/call', { name: 'changing__tick', arguments: {} });
    Object.assign(ticking.body.params._meta, { progressToken: 't' });
    const progress = new Events(await doomed.send(ticking.body, { headers: ticking.headers }));
    await eventually('it listens', () => stream.messages.length === 1 && progress.messages.length === 1);
    await administrate(rig.castellan, 'POST', `/mcptokens/${doomed.tokenName}/revoke?project=p`);
    const revoked = performance.now();
    await Promise.all([stream.ended, old.ended, progress.ended, assert.rejects(held)]);
    await eventually('the call is cancelled upstream', () => call.left);
    const journal = path.join(rig.folder, 'changing');
    await eventually('the call on its stream is too', async () =>
      (await readFile(journal, 'utf8')).includes('notifications/cancelled'),
    );
    assert.ok(performance.now() - revoked < 5_000);
    assert.equal((await doomed.send(LIST)).status, 401);
    assert.equal((await doomed.send(LIST, { headers: session })).status, 401);
  });

  test('SIGTERM: streams end in good order, calls in flight are answered, new ones refused', async () => {
    const { body, headers } = rig.agent.modern('subscriptions/listen', { notifications }, 'last');
    const stream = new Events(await rig.agent.send(body, { headers }));
    await eventually('it listens', () => stream.messages.length === 1);
    const before = rig.legacy.calls.length;
    const held = rig.agent.call('legacy__hold', { text: 'to the end' });
    await rig.legacy.arrival(before);
    const exited = once(rig.castellan.process, 'exit');
    rig.castellan.process.kill('SIGTERM');
    assert.equal(await stream.ended, true);
    const last = stream.messages.at(-1)!;
    assert.equal(last.id, 'last');
    assert.equal(last.result?.resultType, 'complete');
    assert.equal(subscriptionOf(last), 'last');
    await assert.rejects(rig.agent.send(LIST).then((one) => assert.ok(one.ok)));
    rig.legacy.letGo();
    assert.deepEqual(JSON.parse((await held).result?.content[0].text), { text: 'to the end' });
    await exited;
    assert.equal(rig.castellan.process.exitCode, 0);
  });
});
