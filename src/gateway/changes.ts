export type ChangeListener = {
  /** Names of the servers that it shows at this moment. */
  servers(): readonly string[];
  changed(): void;
};

/** Clients are told at most this often that a list has changed, ms; of the first change at once. */
const MIN_GAP_MS = 1_000;

/** Who wants to hear that what a surface shows has changed. Bursts become one notice. */
export class SurfaceChanges {
  private readonly listeners = new Set<ChangeListener>();
  private readonly changedServers = new Set<string>();
  private everything = false;
  private timer: NodeJS.Timeout | undefined;
  private lastFlush = 0;

  listen(listener: ChangeListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** A server's offer changed; without a name, the configuration did. */
  changed(server?: string): void {
    if (this.listeners.size === 0) return;
    if (server === undefined) this.everything = true;
    else this.changedServers.add(server);
    const wait = Math.max(0, this.lastFlush + MIN_GAP_MS - Date.now());
    this.timer ??= setTimeout(() => this.flush(), wait).unref();
  }

  close(): void {
    clearTimeout(this.timer);
    this.listeners.clear();
  }

  private flush(): void {
    this.timer = undefined;
    this.lastFlush = Date.now();
    const servers = new Set(this.changedServers);
    const { everything } = this;
    this.changedServers.clear();
    this.everything = false;
    for (const listener of [...this.listeners]) {
      if (everything || listener.servers().some((name) => servers.has(name))) listener.changed();
    }
  }
}
