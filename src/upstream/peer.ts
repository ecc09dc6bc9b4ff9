import type { JsonObject } from '../protocol/jsonrpc.ts';
import type { Era } from '../protocol/revisions.ts';
import type { Transport } from './transport.ts';

/** What an upstream said of itself when it was dialled. */
export type Peer = {
  era: Era;
  revision: string;
  capabilities: JsonObject;
  serverInfo: JsonObject | undefined;
  instructions: string | undefined;
  /** It keeps something for us from call to call, which ends with the channel. */
  stateful: boolean;
};

export type Channel = { transport: Transport; peer: Peer };

/** The era a server was last seen to speak, so that the next dial need not probe. */
export type Verdict = { era: Era; revision: string; transport: Transport['kind']; probedAt: number };

/** Servers get updated: a verdict this old is asked for again at the next dial. */
export const VERDICT_MAX_AGE_MS = 24 * 3_600_000;
