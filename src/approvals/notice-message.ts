import { createHmac } from 'node:crypto';
import { withHiddenShown } from '../base/hidden-characters.ts';
import { ok, type Result, refused } from '../base/result.ts';
import type { NoticeTarget } from '../policy/policy.ts';
import { ntfyTopic } from '../resources/notify-fields.ts';
import type { Approval } from './approval.ts';
import type { Notice, NoticeEvent } from './notice.ts';

export type Message = { url: string; headers: Readonly<Record<string, string>>; body: string };

/** The target with its secrets filled in. */
export type FilledTarget = Pick<NoticeTarget, 'url' | 'secret' | 'format'>;

type About = {
  notice: Pick<Notice, 'id' | 'event' | 'madeAt'>;
  approval: Approval;
  /** Of its page. */
  page: string;
  /** Of the attempt, seconds since 1970. */
  attemptAt: number;
};

/** ntfy's: 4 wakes, 3 is what others have. */
const PRIORITY = { asks: 4, tells: 3 } as const;

/** What is sent, and where. Never with arguments of the call, nor with what somebody wrote about it. */
export function noticeMessage({ url, secret, format }: FilledTarget, about: About): Result<Message, string> {
  if (format === 'ntfy') return ntfyMessage(url, secret, about);
  if (format === 'slack') {
    const link = `<${slackText(about.page)}|${about.approval.id}>`;
    return ok(jsonMessage(url, { text: `${slackText(sentence(about))} ${link}` }));
  }
  const key = secret === undefined ? undefined : signingKey(secret);
  if (!key) return refused('the secret is no signing key: whsec_ and the base64 of 24 to 64 bytes');
  const { body, headers } = jsonMessage(url, webhookBody(about));
  const { id } = about.notice;
  const timestamp = String(about.attemptAt);
  const signed = { 'webhook-id': id, 'webhook-timestamp': timestamp };
  const signature = signatureOf(key, id, timestamp, body);
  return ok({ url, body, headers: { ...headers, ...signed, 'webhook-signature': signature } });
}

/** Standard Webhooks: HMAC-SHA256 over id, timestamp and body, with points between them. */
function signatureOf(key: Buffer, id: string, timestamp: string, body: string): string {
  return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
}

function signingKey(secret: string): Buffer | undefined {
  const [, text] = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(secret.trim()) ?? [];
  const key = text === undefined ? undefined : Buffer.from(text, 'base64');
  return key && key.length >= 24 && key.length <= 64 ? key : undefined;
}

function webhookBody({ notice, approval, page }: About): object {
  const { requester, policy, terms } = approval;
  const decided = approval.decidedAt !== null && notice.event !== 'pending' && notice.event !== 'reminder';
  return {
    type: `approval.${notice.event}`,
    timestamp: iso(notice.madeAt),
    data: {
      id: approval.id,
      url: page,
      project: approval.project.name,
      surface: approval.surface,
      server: approval.server,
      tool: approval.tool,
      user: requester.owner,
      credential: requester.tokenName ?? requester.principal,
      policy: policy.policy,
      rule: policy.rule,
      approvers: terms.approvers,
      requestedAt: iso(approval.requestedAt),
      expiresAt: iso(approval.expiresAt),
      ...(decided && { decidedAt: iso(approval.decidedAt ?? 0), decidedBy: personIn(approval.decidedBy) }),
    },
  };
}

function ntfyMessage(url: string, token: string | undefined, about: About): Result<Message, string> {
  const place = ntfyTopic(url);
  if (!place) return refused('the address names no topic: it is such as https://ntfy.sh/TOPIC');
  const { page } = about;
  const asks = about.notice.event === 'pending' || about.notice.event === 'reminder';
  const { headers, body } = jsonMessage(place.server, {
    topic: place.topic,
    title: TITLES[about.notice.event],
    message: sentence(about),
    priority: asks ? PRIORITY.asks : PRIORITY.tells,
    click: page,
    actions: [{ action: 'view', label: asks ? 'Decide' : 'Look', url: page }],
  });
  const proof: Record<string, string> =
    token === undefined ? {} : { authorization: `Bearer ${token.trim()}` };
  return ok({ url: place.server, body, headers: { ...headers, ...proof } });
}

const TITLES: Readonly<Record<NoticeEvent, string>> = {
  pending: 'A call waits for approval',
  reminder: 'A call still waits for approval',
  approved: 'A call was approved',
  rejected: 'A call was rejected',
  expired: 'An approval has expired',
  cancelled: 'A call was taken back',
  void: 'An approval is void',
  unknown: 'Nobody knows how an approved call ended',
};

function sentence({ notice, approval }: About): string {
  const { tool, project, requester, expiresAt, decidedBy } = approval;
  const asks = notice.event === 'pending' || notice.event === 'reminder';
  const until = asks ? `, until ${iso(expiresAt).slice(0, 16).replace('T', ' ')} UTC` : '';
  const person = asks ? undefined : personIn(decidedBy);
  const by = person === undefined ? '' : `, decided by ${person}`;
  const about = `${tool} in project ${project.name}, asked for by ${requester.owner}${until}${by}`;
  return withHiddenShown(`${TITLES[notice.event]}: ${about}.`);
}

/** Of what Slack reads as its own: `&`, `<` and `>`. */
function slackText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function jsonMessage(url: string, body: object): Message {
  return { url, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}

/** A token's principal says nothing to a reader. */
function personIn(principal: string | null): string | undefined {
  return principal?.startsWith('User:') ? principal.slice('User:'.length) : undefined;
}

const iso = (at: number) => new Date(at).toISOString();
