import type { JsonObject } from '../protocol/jsonrpc.ts';
import { isObject } from '../protocol/jsonrpc.ts';
import { isLoggedAt, type McpLogLevel } from '../protocol/log-levels.ts';
import type { Channel } from './peer.ts';

type Told = { level: McpLogLevel; done: Promise<void> };

/**
 * What a legacy server has been told to log: the most verbose level that any call on its session wanted. It only ever
 * falls, because what a caller did not want is filtered on its way to them.
 */
export class SessionLogLevel {
  private readonly told = new WeakMap<Channel, Told>();
  private readonly tell: (channel: Channel, params: JsonObject) => Promise<unknown>;

  constructor(tell: (channel: Channel, params: JsonObject) => Promise<unknown>) {
    this.tell = tell;
  }

  /** Resolves when the server logs at this level, or has said that it does not. Undefined: it does already. */
  ensure(channel: Channel, level: McpLogLevel): Promise<void> | undefined {
    if (channel.peer.era !== 'legacy' || !isObject(channel.peer.capabilities.logging)) return undefined;
    const told = this.told.get(channel);
    if (told && isLoggedAt(told.level, level)) return told.done;
    // A call goes on without its logs if the server will not have it.
    const done = this.tell(channel, { level }).then(
      () => {},
      () => {},
    );
    this.told.set(channel, { level, done });
    return done;
  }
}
