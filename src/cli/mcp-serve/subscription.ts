import { setTimeout as delay } from 'node:timers/promises';
import { isObject, type JsonObject, type JsonRpcRequest } from '../../protocol/jsonrpc.ts';
import { LIST_NOTICES } from '../../protocol/list-notices.ts';
import { Meta } from '../../protocol/revisions.ts';
import { parseJson } from '../endpoint/http-exchange.ts';
import { type Asked, ask } from './exchange.ts';
import { modernHeaders } from './modern-requests.ts';
import { LinkFault, type ServerLink } from './server-link.ts';

const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';
const PAUSE_MS = 1_000;

/**
 * A `subscriptions/listen` of a client on stdio, which has no connection that could break: whatever ends the stream of
 * the server opens it again, and the client is told that everything may have changed. Its answer is the server's
 * refusal; undefined when `signal` ended it.
 */
export async function subscribed(
  link: ServerLink,
  path: string,
  message: JsonRpcRequest,
  asked: Omit<Asked, 'headers'>,
): Promise<string | undefined> {
  const { signal } = asked;
  let acknowledged = false;
  const heard = async (text: string) => {
    const { method, params } = parseJson(text) as { method?: unknown; params?: JsonObject };
    if (method !== ACKNOWLEDGED || !acknowledged) {
      acknowledged ||= method === ACKNOWLEDGED;
      return asked.heard(text);
    }
    const honoured = isObject(params?.notifications) ? params.notifications : {};
    for (const missed of missedNotices(honoured, message)) await asked.heard(missed);
  };
  while (!signal.aborted) {
    try {
      const answer = await ask(link, path, { ...asked, heard, headers: modernHeaders(message) });
      const passing = answer.status === 429 || answer.status === 503;
      if ('error' in answer.message && !passing) return answer.text;
    } catch (error) {
      if (!signal.aborted && !(error instanceof LinkFault)) throw error;
    }
    await delay(PAUSE_MS, undefined, { signal }).catch(() => undefined);
  }
  return undefined;
}

function missedNotices(honoured: JsonObject, { id }: JsonRpcRequest): string[] {
  const meta = { [Meta.subscriptionId]: id };
  const notice = (method: string, params: JsonObject = {}) =>
    JSON.stringify({ jsonrpc: '2.0', method, params: { ...params, _meta: meta } });
  const lists = Object.entries(LIST_NOTICES).filter(([kind]) => honoured[kind] === true);
  const uris = Array.isArray(honoured.resourceSubscriptions) ? honoured.resourceSubscriptions : [];
  return [
    ...lists.map(([, method]) => notice(method)),
    ...uris.map((uri) => notice('notifications/resources/updated', { uri })),
  ];
}
