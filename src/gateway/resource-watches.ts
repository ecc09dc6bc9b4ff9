import type { AuthenticatedCaller } from '../identity/caller.ts';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import { isObject } from '../protocol/jsonrpc.ts';
import type { ProjectEntry } from '../resources/spec.ts';
import type { Circle } from '../upstream/circle.ts';
import type { Upstreams } from '../upstream/upstreams.ts';
import type { Watcher, WatchLease } from '../upstream/watch.ts';
import { type Scope, serversOf } from './scope.ts';
import type { Toolsets } from './toolsets.ts';

/** Who watches: a surface as it is at the moment, and the circle of one client. */
export type Onlooker = { caller: AuthenticatedCaller; scope(): Scope; circle: Circle };

export type ResourceWatchesDeps = {
  upstreams: Upstreams;
  toolsets: Toolsets;
  /** Names of the servers that may have this resource, the likeliest first. */
  owners(scope: Scope, circle: Circle, uri: string): Promise<readonly string[]>;
  /** Whether policies let nobody read anything of the server. */
  isClosed(project: ProjectEntry, server: string): boolean;
};

const RETRY_MS = { first: 1_000, most: 60_000 };

/** Everything that clients subscribed to, each wherever the resource lives now. */
export class ResourceWatches {
  private readonly deps: ResourceWatchesDeps;
  private readonly open = new Set<ResourceWatch>();

  constructor(deps: ResourceWatchesDeps) {
    this.deps = deps;
  }

  /** Names of the servers that could tell of this resource. */
  async candidates(scope: Scope, circle: Circle, uri: string): Promise<string[]> {
    const owners = await this.deps.owners(scope, circle, uri);
    return owners.filter((name) => {
      if (this.deps.isClosed(scope.project, name)) return false;
      const peer = this.deps.upstreams.get(name)?.catalogue(circle).peekQuietly()?.peer;
      const resources = peer?.capabilities.resources;
      return isObject(resources) && resources.subscribe === true;
    });
  }

  /** What ends the watch; undefined when no server of the surface tells of this resource. Never rejects. */
  async watch(
    onlooker: Onlooker,
    uri: string,
    updated: (params: JsonObject) => void,
  ): Promise<(() => void) | undefined> {
    const lease = (name: string, watcher: Watcher) => this.lease(name, onlooker, uri, watcher);
    const candidates = () => this.candidates(onlooker.scope(), onlooker.circle, uri);
    const mayShow = (name: string) => {
      const scope = onlooker.scope();
      const { project, rights } = scope;
      return serversOf(scope).includes(name) && rights.runsAllOf(name) && !this.deps.isClosed(project, name);
    };
    const watch = new ResourceWatch({
      candidates,
      lease,
      mayShow,
      updated: (params) => updated(params),
      uri,
    });
    this.open.add(watch);
    const end = () => {
      this.open.delete(watch);
      watch.end();
    };
    if (await watch.acquire()) return end;
    end();
    return undefined;
  }

  /** The configuration changed: a watch on a server that the surface no longer shows moves or waits. */
  reconcile(): void {
    for (const watch of this.open) watch.recheck();
  }

  private lease(name: string, onlooker: Onlooker, uri: string, watcher: Watcher): WatchLease | undefined {
    const server = this.deps.upstreams.get(name);
    const toolset = server && this.deps.toolsets.of(server.spec);
    if (toolset) return toolset.resources?.watch(onlooker, uri, watcher);
    try {
      return server?.watch(onlooker.circle, uri, watcher);
    } catch {
      // Its connections are all busy; that is the same as not being able to tell.
      return undefined;
    }
  }
}

type WatchParts = {
  uri: string;
  candidates(): Promise<string[]>;
  lease(name: string, watcher: Watcher): WatchLease | undefined;
  mayShow(name: string): boolean;
  updated(params: JsonObject): void;
};

/** One client's interest in one resource, which outlives the server that it was found on. */
class ResourceWatch {
  private readonly parts: WatchParts;
  private held: { name: string; lease: WatchLease } | undefined;
  private ended = false;
  private failures = 0;
  private retry: NodeJS.Timeout | undefined;

  constructor(parts: WatchParts) {
    this.parts = parts;
  }

  async acquire(): Promise<boolean> {
    const candidates = await this.parts.candidates().catch(() => []);
    for (const name of candidates) {
      if (this.ended) return false;
      let mine: WatchLease | undefined;
      let gone = false;
      mine = this.parts.lease(name, {
        updated: (params) => {
          if (this.held?.lease === mine && this.parts.mayShow(name)) this.parts.updated(params);
        },
        lost: () => {
          gone = true;
          if (this.held?.lease === mine) this.lose();
        },
      });
      if (!mine) continue;
      if ((await mine.active) && !gone && !this.ended) {
        this.held = { name, lease: mine };
        this.failures = 0;
        return true;
      }
      mine.release();
    }
    return false;
  }

  recheck(): void {
    if (this.held && !this.parts.mayShow(this.held.name)) this.lose();
  }

  end(): void {
    this.ended = true;
    clearTimeout(this.retry);
    this.held?.lease.release();
    this.held = undefined;
  }

  private lose(): void {
    this.held?.lease.release();
    this.held = undefined;
    this.again();
  }

  private again(): void {
    if (this.ended) return;
    const wait = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** Math.min(10, this.failures));
    this.failures += 1;
    clearTimeout(this.retry);
    this.retry = setTimeout(() => void this.reacquire(), wait).unref();
  }

  private async reacquire(): Promise<void> {
    const found = await this.acquire();
    if (this.ended) return;
    // Nobody knows what happened to it meanwhile: the client reads it again.
    if (found) this.parts.updated({ uri: this.parts.uri });
    else this.again();
  }
}
