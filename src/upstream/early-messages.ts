import type { JsonRpcMessage } from '../protocol/jsonrpc.ts';

/** What a server may say before it is listened to; nothing more is kept. */
const MAX_EARLY = 64;

/** What a server says while it is being dialled waits until the dial is done: it may be a question. */
export class EarlyMessages {
  private readonly receive: (message: JsonRpcMessage) => void;
  private waiting: JsonRpcMessage[] | undefined = [];

  constructor(receive: (message: JsonRpcMessage) => void) {
    this.receive = receive;
  }

  take(message: JsonRpcMessage): void {
    if (!this.waiting) this.receive(message);
    else if (this.waiting.length < MAX_EARLY) this.waiting.push(message);
  }

  /** From now on nothing waits. */
  deliver(): void {
    const waiting = this.waiting ?? [];
    this.waiting = undefined;
    for (const message of waiting) this.receive(message);
  }
}
