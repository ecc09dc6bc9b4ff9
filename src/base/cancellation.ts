/**
 * One caller's wish to stop. Plain object instead of an AbortSignal, whose construction and listeners cost more than
 * the rest of a small call's bookkeeping.
 */
export class Cancellation {
  private reason: string | undefined;
  private listeners: ((reason: string) => void)[] = [];

  get cancelled(): string | undefined {
    return this.reason;
  }

  cancel(reason: string): void {
    if (this.reason !== undefined) return;
    this.reason = reason;
    const listeners = this.listeners;
    this.listeners = [];
    for (const listener of listeners) listener(reason);
  }

  /** Calls back once, at once if it is already cancelled. Returns what takes the listener off. */
  onCancel(listener: (reason: string) => void): () => void {
    if (this.reason !== undefined) {
      listener(this.reason);
      return () => {};
    }
    this.listeners.push(listener);
    return () => {
      const at = this.listeners.indexOf(listener);
      if (at >= 0) this.listeners.splice(at, 1);
    };
  }
}
