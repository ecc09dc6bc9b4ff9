import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { heldCall } from '../../test/support/approvals-scene.ts';
import type { Approval } from './approval.ts';
import { type FilledTarget, type Message, noticeMessage } from './notice-message.ts';

/** The key of the Standard Webhooks examples. */
const KEY = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const PAGE = 'https://castellan.example.com/approvals/apr_1';

const approval = {
  ...heldCall(1),
  id: 'apr_1',
  state: 'pending',
  tool: 'x__<!channel>&\u202e',
  argumentsText: '{"n":"a secret argument"}',
  reason: 'a secret reason',
  requestedAt: 0,
  expiresAt: 3_600_000,
  decidedAt: 60_000,
  decidedBy: 'User:admin',
} as unknown as Approval;

function sent(target: FilledTarget, event: 'pending' | 'approved' = 'pending'): Message {
  const notice = { id: 'msg_p5jXN8AQM9LWM0D4loKWxJek', event, madeAt: 0 };
  const message = noticeMessage(target, { notice, approval, page: PAGE, attemptAt: 1614265330 });
  if (!message.ok) throw new Error(message.error);
  assert.doesNotMatch(message.value.body, /a secret/);
  return message.value;
}

describe('a notice', () => {
  it('is signed so that an independent verifier takes it, and nothing else', async () => {
    const { url, headers, body } = sent({ url: 'https://r.example/hook', secret: KEY, format: 'webhook' });
    assert.equal(url, 'https://r.example/hook');
    const { 'webhook-id': id, 'webhook-timestamp': timestamp } = headers;
    assert.deepEqual([id, timestamp], ['msg_p5jXN8AQM9LWM0D4loKWxJek', '1614265330']);
    const key = await crypto.subtle.importKey(
      'raw',
      Buffer.from(KEY.slice('whsec_'.length), 'base64'),
      { name: 'HMAC', hash: 'SHA-256' },
      false,
      ['verify'],
    );
    const [version, signature = ''] = (headers['webhook-signature'] ?? '').split(',');
    assert.equal(version, 'v1');
    const verify = (text: string) =>
      crypto.subtle.verify('HMAC', key, Buffer.from(signature, 'base64'), new TextEncoder().encode(text));
    assert.equal(await verify(`${id}.${timestamp}.${body}`), true);
    assert.equal(await verify(`${id}.${timestamp}.${body} `), false);
  });

  it('tells of the call without its arguments', () => {
    const target = { url: 'https://r.example/', secret: KEY, format: 'webhook' } as const;
    const { type, timestamp, data } = JSON.parse(sent(target).body);
    assert.deepEqual([type, timestamp], ['approval.pending', '1970-01-01T00:00:00.000Z']);
    assert.deepEqual(data, {
      ...{ id: 'apr_1', url: PAGE, project: 'demo', surface: 'consumer', server: 'x', tool: approval.tool },
      ...{
        user: 'asker@example.com',
        credential: 'McpToken:0',
        policy: 'humans-first',
        rule: 0,
        approvers: [],
      },
      ...{ requestedAt: '1970-01-01T00:00:00.000Z', expiresAt: '1970-01-01T01:00:00.000Z' },
    });
    const decided = JSON.parse(sent(target, 'approved').body);
    assert.deepEqual([decided.type, decided.data.decidedBy], ['approval.approved', 'admin']);
  });

  it('goes to the root of ntfy with its topic, and with the token as a bearer', () => {
    const target = { url: 'https://ntfy.sh/on-call_7', secret: 'tk_1\n', format: 'ntfy' } as const;
    const { url, headers, body } = sent(target);
    assert.deepEqual([url, headers.authorization], ['https://ntfy.sh/', 'Bearer tk_1']);
    const { topic, click, message, priority, actions } = JSON.parse(body);
    assert.deepEqual([topic, click, priority], ['on-call_7', PAGE, 4]);
    assert.deepEqual(actions, [{ action: 'view', label: 'Decide', url: PAGE }]);
    assert.match(message, /x__<!channel>&‹U\+202E› in project demo, asked for by asker@example\.com, until/);
    assert.equal(sent({ ...target, secret: undefined }).headers.authorization, undefined);
    const nowhere = {
      notice: { id: 'm', event: 'pending', madeAt: 0 },
      approval,
      page: PAGE,
      attemptAt: 0,
    } as const;
    assert.equal(noticeMessage({ ...target, url: 'https://ntfy.sh/' }, nowhere).ok, false);
  });

  it('mentions nobody at Slack, whatever a tool is called', () => {
    const { url, body } = sent({ url: 'https://hooks.slack.com/services/T/B/X', format: 'slack' });
    assert.equal(url, 'https://hooks.slack.com/services/T/B/X');
    const { text } = JSON.parse(body);
    assert.match(text, /x__&lt;!channel&gt;&amp;‹U\+202E›/);
    assert.ok(text.endsWith(`<${PAGE}|apr_1>`), text);
  });

  it('does not leave without a key that signs', () => {
    for (const secret of ['hello', 'whsec_', 'whsec_c2hvcnQ=', `whsec_${'A'.repeat(100)}`, undefined]) {
      const notice = { id: 'msg_1', event: 'pending', madeAt: 0 } as const;
      const about = { notice, approval, page: PAGE, attemptAt: 0 };
      const made = noticeMessage({ url: 'https://r.example/', secret, format: 'webhook' }, about);
      assert.equal(made.ok, false);
      assert.doesNotMatch(JSON.stringify(made), /hello|c2hvcnQ|AAAA/);
    }
  });
});
