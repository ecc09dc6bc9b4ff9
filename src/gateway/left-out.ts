/** How many entries of one server are named, and with how many characters. */
const MAX_NAMED = 50;
const MAX_WHAT = 200;

/** Entries of one server that a list does not show, the first of them by name. */
export class LeftOut {
  private readonly server: string;
  private readonly reasons: string[] = [];
  private more = 0;

  constructor(server: string) {
    this.server = server;
  }

  add(what: string, reason: string): void {
    if (this.reasons.length < MAX_NAMED)
      this.reasons.push(`${what.slice(0, MAX_WHAT)} is left out: ${reason}`);
    else this.more += 1;
  }

  notes(): { server: string; reason: string }[] {
    const reasons =
      this.more > 0 ? [...this.reasons, `${this.more} more are left out for such reasons`] : this.reasons;
    return reasons.map((reason) => ({ server: this.server, reason }));
  }
}
