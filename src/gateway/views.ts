import { boundedCache } from '../base/bounded-cache.ts';
import type { ToolPins } from '../pins/tool-pins.ts';
import type { ConfiguredServer } from '../upstream/builtin-server.ts';
import type { Circle } from '../upstream/circle.ts';
import { UpstreamFault } from '../upstream/transport.ts';
import type { Upstreams } from '../upstream/upstreams.ts';
import type { Gates } from './gates.ts';
import type { OwnTool } from './own/own-tool.ts';
import { type Scope, serversOf } from './scope.ts';
import { buildView, type View, type ViewPart, type ViewTool } from './view.ts';

/** How long the first list of a surface waits for servers that nobody has reached yet, ms. */
const FIRST_LIST_MS = 10_000;
const MAX_VIEWS = 500;
/** A list may be kept so long at most: changes are announced, so this bounds what a lost notice costs, ms. */
const LIST_TTL_MS = 60_000;
const NOTHING: ViewPart['unaccepted'] = new Map();
const STARTING = new UpstreamFault('unreachable', 'it is still starting');

type Pins = Pick<ToolPins, 'unaccepted' | 'recording'>;
type Entry = { epoch: number; view: View };

/** The views of all surfaces: built when first asked for, kept until something that they show has changed. */
export class Views {
  private readonly upstreams: Upstreams;
  private readonly gates: Pick<Gates, 'hides' | 'hidesServer'>;
  private readonly pins: Pins;
  private readonly ownTools: readonly OwnTool[];
  private readonly views = boundedCache<string, Entry>(MAX_VIEWS);
  private epoch = 0;

  constructor(
    upstreams: Upstreams,
    gates: Pick<Gates, 'hides' | 'hidesServer'>,
    pins: Pins,
    ownTools: readonly OwnTool[],
  ) {
    this.upstreams = upstreams;
    this.gates = gates;
    this.pins = pins;
    this.ownTools = ownTools;
  }

  /** The configuration or a catalogue changed. */
  outdated(): void {
    this.epoch += 1;
  }

  /** What can be shown now, without waiting for anything. */
  current(scope: Scope, circle: Circle): View {
    const key = `${scope.project.uid}|${scope.surface}|${scope.rights.fingerprint}|${circle.owner}|${circle.relayed.signature}`;
    const known = this.views.get(key);
    if (known && known.epoch === this.epoch) return known.view;
    // Read before the parts: a change during the build must not look included.
    const { epoch } = this;
    const hidden = {
      tool: (canonical: string) => this.gates.hides(scope.project, canonical),
      server: (name: string) => this.gates.hidesServer(scope.project, name),
    };
    const view = buildView(scope, this.parts(scope, circle), hidden, this.ownTools);
    this.views.set(key, { epoch, view });
    return view;
  }

  /** Whether the prompts and resources of a server are shown. */
  shows({ project, rights }: Scope, server: string): boolean {
    return rights.runsAllOf(server) && !this.gates.hidesServer(project, server);
  }

  /** Waits for servers not yet reached, each to its own deadline and all at once. */
  async complete(scope: Scope, circle: Circle): Promise<View> {
    const waits: Promise<unknown>[] = [];
    for (const server of this.serversIn(scope)) {
      const catalogue = server.catalogue(circle);
      if (catalogue.worthWaiting) waits.push(catalogue.settled(Date.now() + FIRST_LIST_MS));
      else catalogue.peek();
    }
    if (waits.length > 0) {
      await Promise.all(waits);
      // A load that outlived its reader changes no catalogue, yet the reader has to be told of it.
      this.outdated();
    }
    const view = this.current(scope, circle);
    const recording = this.pins.recording(scope.project);
    if (!recording) return view;
    // What a model has read must be what later definitions are compared with, whatever becomes of this process.
    await recording;
    return this.current(scope, circle);
  }

  /**
   * For how long, ms, the lists of a surface may be taken for what its servers offer: no longer than for the part that
   * is the first to age. In whole seconds, so that a list is not written anew for every reader.
   */
  freshFor(scope: Scope, circle: Circle): number {
    const now = Date.now();
    let least = LIST_TTL_MS;
    for (const server of this.serversIn(scope))
      least = Math.min(least, server.catalogue(circle).freshFor(now));
    return least - (least % 1_000);
  }

  /**
   * The tool behind an exposed name. Waits only for the servers whose list could hold it. `unavailable` names the
   * server whose list cannot be had, when the name says that the tool would be its.
   */
  async findTool(
    scope: Scope,
    circle: Circle,
    name: string,
    deadline: number,
  ): Promise<{ tool: ViewTool } | { unavailable: string; fault: UpstreamFault } | undefined> {
    const found = this.current(scope, circle).tools.get(name);
    if (found && !found.provisional) return { tool: found };
    // Which server a plain name belongs to must not depend on which of them started first.
    const settled = found && (await this.complete(scope, circle)).tools.get(name);
    if (settled) return { tool: settled };
    const unknown = this.serversIn(scope).filter(
      (server) => server.catalogue(circle).peekQuietly() === undefined,
    );
    const own = unknown.filter((server) => name.startsWith(`${server.name}__`));
    const candidates = own.length > 0 ? own : unknown.filter((server) => server.spec.prefix !== 'always');
    if (candidates.length > 0) {
      await Promise.all(
        candidates.map((server) => {
          // A caller waits for a server that is starting no longer than for its answer.
          const patience = Date.now() + server.spec.lifecycle.callTimeoutMs;
          return server.catalogue(circle).settled(Math.min(deadline, patience), true);
        }),
      );
      const now = this.current(scope, circle).tools.get(name);
      if (now) return { tool: now };
    }
    // Whoever may not run it is not told that it would be there.
    if (!scope.rights.runs(name)) return undefined;
    const missing = own.find((server) => server.catalogue(circle).peekQuietly() === undefined);
    if (missing) return { unavailable: missing.name, fault: missing.catalogue(circle).fault ?? STARTING };
    const broken = serversOf(scope).find(
      (server) => name.startsWith(`${server}__`) && !this.upstreams.get(server),
    );
    const reason = broken === undefined ? undefined : this.upstreams.configurationError(broken);
    return broken !== undefined && reason !== undefined
      ? { unavailable: broken, fault: new UpstreamFault('unreachable', reason) }
      : undefined;
  }

  private serversIn(scope: Scope): ConfiguredServer[] {
    return serversOf(scope).flatMap((name) => this.upstreams.get(name) ?? []);
  }

  private parts(scope: Scope, circle: Circle): ViewPart[] {
    return serversOf(scope).map((name) => {
      const server = this.upstreams.get(name);
      if (!server) {
        const reason = this.upstreams.configurationError(name) ?? 'it is not configured';
        return { server: name, spec: undefined, listing: undefined, unaccepted: NOTHING, fault: reason };
      }
      const catalogue = server.catalogue(circle);
      const listing = catalogue.peek();
      const fault = catalogue.fault ?? (listing ? undefined : STARTING);
      const pinned = listing && server.spec.target.type !== 'builtin';
      const unaccepted = pinned ? this.pins.unaccepted(scope.project, name, listing.tools) : NOTHING;
      return { server: name, spec: server.spec, listing, unaccepted, fault: fault?.message };
    });
  }
}
