import { Bag } from '../base/bag.ts';
import type { AuthenticatedCaller } from '../identity/caller.ts';
import { ResumableStreams } from './resumable-streams.ts';

/** Something that is open towards a client and may stay silent for long. */
export type OpenStream = {
  caller: AuthenticatedCaller;
  principal: string;
  tokenId: string | undefined;
  /** Handle of the legacy session that it belongs to and ends with. */
  session?: string | undefined;
  /** It ends only when somebody ends it, unlike a call that is on its way to an answer. */
  lasting: boolean;
  /** Called every few seconds, so that neither side and nothing between takes silence for an end. */
  keepAlive(now: number): void;
  /** Called several times a second while it is open, for what should not wait for `keepAlive`. */
  watch?(now: number): void;
  /** Ends it in good order. */
  end(): void;
};

const TICK_MS = 5_000;
const WATCH_MS = 100;
const MAX_PER_PRINCIPAL = 256;

/** Every open stream: kept alive by one timer, counted by principal, ended with its credential or the server. */
export class OpenStreams {
  /** What is kept for legacy clients that lose their connection. */
  readonly resumable = new ResumableStreams();
  private readonly streams = new Bag<OpenStream>();
  private readonly counts = new Map<string, number>();
  private readonly hold: (tokenId: string) => () => void;
  private readonly releases = new Map<OpenStream, () => void>();
  private readonly ticker: NodeJS.Timeout;
  private watcher: NodeJS.Timeout | undefined;

  /** `hold` has a token watched for as long as a lasting stream lives on it; it gives back what ends that. */
  constructor(hold: (tokenId: string) => () => void) {
    this.hold = hold;
    this.ticker = setInterval(() => {
      const now = Date.now();
      for (const stream of this.streams) stream.keepAlive(now);
      this.resumable.sweep(now);
    }, TICK_MS);
    this.ticker.unref();
  }

  get size(): number {
    return this.streams.size;
  }

  /** Those that end only when somebody ends them. */
  lasting(): OpenStream[] {
    return [...this.streams].filter(({ lasting }) => lasting);
  }

  /** False when this principal holds as many as anybody may. */
  add(stream: OpenStream): boolean {
    const count = this.counts.get(stream.principal) ?? 0;
    if (count >= MAX_PER_PRINCIPAL) return false;
    this.counts.set(stream.principal, count + 1);
    this.streams.add(stream);
    // It runs for as long as something is open, so that a call does not pay for a timer.
    this.watcher ??= setInterval(() => this.watch(), WATCH_MS).unref();
    if (stream.lasting && stream.tokenId !== undefined) this.releases.set(stream, this.hold(stream.tokenId));
    return true;
  }

  delete(stream: OpenStream): void {
    if (!this.streams.delete(stream)) return;
    this.releases.get(stream)?.();
    this.releases.delete(stream);
    const count = this.counts.get(stream.principal) ?? 1;
    if (count > 1) this.counts.set(stream.principal, count - 1);
    else this.counts.delete(stream.principal);
  }

  /** The credential was revoked or removed: nothing may flow under it any more. */
  endToken(tokenId: string): void {
    for (const stream of [...this.streams]) if (stream.tokenId === tokenId) stream.end();
    this.resumable.drop({ tokenId });
  }

  /** Rights have changed: whoever has lost everything keeps nothing open. */
  endThose(lost: (caller: AuthenticatedCaller) => boolean): void {
    for (const stream of [...this.streams]) {
      if (!lost(stream.caller)) continue;
      if (stream.tokenId === undefined) stream.end();
      else this.endToken(stream.tokenId);
    }
  }

  /** A legacy session was deleted: what would go on without it ends too. */
  endSession(handle: string): void {
    for (const stream of [...this.streams]) if (stream.session === handle) stream.end();
    this.resumable.drop({ session: handle });
  }

  /** The server stops: streams that would never end by themselves are closed in good order. */
  endLasting(): void {
    for (const stream of this.lasting()) stream.end();
  }

  /** Ends what is left. */
  endAll(): void {
    clearInterval(this.ticker);
    for (const stream of [...this.streams]) stream.end();
  }

  private watch(): void {
    const now = Date.now();
    for (const stream of this.streams) stream.watch?.(now);
    if (this.streams.size > 0) return;
    clearInterval(this.watcher);
    this.watcher = undefined;
  }
}
