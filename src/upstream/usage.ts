/** Who needs a channel: calls under way, and those who wait for news of the server without calling it. */
export class Usage {
  private readonly onUnused: () => void;
  private calls = 0;
  private holders = 0;
  private last = Date.now();

  /** `onUnused` is called whenever the last of them has gone. */
  constructor(onUnused: () => void) {
    this.onUnused = onUnused;
  }

  /** Calls under way. */
  get inFlight(): number {
    return this.calls;
  }

  /** Neither a call nor anybody who waits for news. */
  get none(): boolean {
    return this.calls + this.holders === 0;
  }

  /** When the last of either went, ms since 1970; at first when this was made. */
  get lastAt(): number {
    return this.last;
  }

  begin(): void {
    this.calls += 1;
  }

  end(): void {
    this.calls -= 1;
    this.left();
  }

  /** What is given back ends it; a second time it does nothing. */
  hold(): () => void {
    this.holders += 1;
    let holding = true;
    return () => {
      if (!holding) return;
      holding = false;
      this.holders -= 1;
      this.left();
    };
  }

  private left(): void {
    this.last = Date.now();
    if (this.none) this.onUnused();
  }
}
