import { TASKS } from '../protocol/extensions.ts';
import { isObject, type JsonObject, type JsonRpcMessage } from '../protocol/jsonrpc.ts';
import type { Implementation } from '../protocol/model.ts';
import { Meta } from '../protocol/revisions.ts';
import { codecs } from '../protocol/wire/table.ts';
import type { Channel } from './peer.ts';
import { UpstreamFault } from './transport.ts';

const METHOD = 'subscriptions/listen';
const MAX_BYTES = 1024 * 1024;

export type SubscriptionOptions = {
  self: Implementation;
  id: number;
  /** What to be told of (2026-07-28 basic/patterns/subscriptions). */
  notifications: JsonObject;
  onNotice(method: string, params: JsonObject): void;
};

/** One `subscriptions/listen` on a modern server, from request to end. */
export class Subscription {
  /** The subset that the server honours. Rejects with an UpstreamFault when it ends before it said so. */
  readonly acknowledged: Promise<JsonObject>;
  /** Resolves when the server has ended it or it broke, with the reason. */
  readonly ended: Promise<string>;
  private readonly options: SubscriptionOptions;
  private readonly stopIt: () => void;
  private acknowledge!: (honoured: JsonObject) => void;
  private over = false;

  constructor(channel: Channel, options: SubscriptionOptions) {
    this.options = options;
    const { transport, peer } = channel;
    const { id, notifications, self } = options;
    const params = codecs.modern.encodeRequest(
      METHOD,
      { notifications },
      {
        revision: peer.revision,
        clientInfo: self,
        // Of tasks only a client hears that declares their extension.
        clientCapabilities: notifications.taskIds ? { extensions: { [TASKS]: {} } } : {},
        progressToken: undefined,
        logLevel: undefined,
      },
    );
    const headers = { 'mcp-protocol-version': peer.revision, 'mcp-method': METHOD };
    const exchange = transport.exchange(
      { jsonrpc: '2.0', id, method: METHOD, params },
      { maxBytes: MAX_BYTES, headers, lasting: true, onMessage: (message) => this.receive(message) },
    );
    this.ended = exchange.answer.then(
      ({ message }) => ('error' in message ? message.error.message : 'the server ended the subscription'),
      (error: Error) => error.message,
    );
    this.acknowledged = new Promise((resolve, reject) => {
      this.acknowledge = resolve;
      void this.ended.then((reason) => reject(new UpstreamFault('protocol', reason, { sent: true })));
    });
    // Whoever opens one and stops it at once waits for nothing.
    this.acknowledged.catch(() => {});
    this.stopIt = () => {
      exchange.abandon(new UpstreamFault('abandoned', 'nobody listens any more', { sent: true }));
      if (transport.kind !== 'stdio') return;
      const cancelled = { requestId: id, reason: 'nobody listens any more' };
      transport
        .send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: cancelled })
        .catch(() => {});
    };
  }

  stop(): void {
    if (this.over) return;
    this.over = true;
    this.stopIt();
  }

  /** A message on its own stream, or over stdio one that carries its id. */
  receive(message: JsonRpcMessage): void {
    if (this.over || !('method' in message) || 'id' in message) return;
    const params = isObject(message.params) ? message.params : {};
    if (message.method === 'notifications/subscriptions/acknowledged') {
      this.acknowledge(isObject(params.notifications) ? params.notifications : {});
    } else this.options.onNotice(message.method, params);
  }
}

/** The listen request that a notification belongs to, where all share one stream. */
export function subscriptionOf(params: JsonObject): unknown {
  return isObject(params._meta) ? params._meta[Meta.subscriptionId] : undefined;
}
