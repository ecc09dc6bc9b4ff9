import type { JsonRpcError } from '../protocol/jsonrpc.ts';
import { ErrorCode } from '../protocol/jsonrpc.ts';
import type { Era } from '../protocol/revisions.ts';
import { VERDICT_MAX_AGE_MS, type Verdict } from './peer.ts';

/** A server is asked no more often than this, however doubtful its answers are, ms. */
const MIN_GAP_MS = 10_000;
/** When it could not be told, ms. */
const RETRY_MS = 300_000;

/** When a server is asked again which era it speaks: a day after it was asked last, and when its answers are of another. */
export class EraCheck {
  private running = false;
  private notBefore = 0;

  /** Because of its age. */
  isDue(verdict: Verdict | undefined, now: number): boolean {
    return verdict !== undefined && now - verdict.probedAt >= VERDICT_MAX_AGE_MS && this.mayRun(now);
  }

  mayRun(now: number): boolean {
    return !this.running && now >= this.notBefore;
  }

  async run(now: number, probe: () => Promise<Era | undefined>): Promise<Era | undefined> {
    this.running = true;
    try {
      const era = await probe();
      this.notBefore = now + (era === undefined ? RETRY_MS : MIN_GAP_MS);
      return era;
    } finally {
      this.running = false;
    }
  }
}

const MODERN_ONLY: readonly number[] = [ErrorCode.headerMismatch, ErrorCode.unsupportedProtocolVersion];
const OF_BOTH: readonly number[] = [ErrorCode.methodNotFound, ErrorCode.invalidParams];

/** Whether a refused request looks like one that the server did not understand at all; `status` is that of HTTP. */
export function isForeign(era: Era, { code }: JsonRpcError, status: number | undefined): boolean {
  if (era === 'legacy') return MODERN_ONLY.includes(code);
  const refused = status === 400 || status === 404 || status === 405;
  const known =
    code === ErrorCode.missingClientCapability || MODERN_ONLY.includes(code) || OF_BOTH.includes(code);
  return refused && !known;
}
