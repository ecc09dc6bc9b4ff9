import { setTimeout as delay } from 'node:timers/promises';
import type { Audit } from '../audit/audit.ts';
import { messageOf } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import type { ProjectEntry, Snapshot } from '../resources/spec.ts';
import type { Store } from '../store/database.ts';
import { definitionFingerprint } from './definition.ts';
import { type Accepted, PinRows } from './pin-rows.ts';
import { type PinnedPlace, type Place, placeKey } from './pin-tables.ts';
import { admit, type SeenDefinition, type Unaccepted, unacceptedFor } from './pinned.ts';

type ToolPinsDeps = { store: Store; audit: Audit; snapshot: () => Snapshot; logger: Logger };

/** One definition of a tool that a project has seen. */
export type PinnedDefinition = {
  fingerprint: string;
  /** Undefined where it was too long to be kept. */
  definition: JsonObject | undefined;
  seenAt: number;
  /** Undefined while it waits. */
  acceptedAt: number | undefined;
  /** The principal that accepted it; undefined for the first use, which nobody had to accept. */
  acceptedBy: string | undefined;
};

type Recording = { place: Place; seen: SeenDefinition[] };

const NOTHING: ReadonlyMap<string, Unaccepted> = new Map();
/** What another process on the same database accepted counts here within this time. */
const LOOK_EVERY_MS = 2_000;
/** A list waits no longer than this for what it shows first to be on record. */
const PATIENCE_MS = 5_000;
/** Names of tools of one server in one project; those that come later wait, and are not kept. */
const MAX_TOOLS = 10_000;
const MAX_UNRECORDED = 20_000;

/**
 * Which definitions of tools a project has accepted. What is asked by every view is in memory and was read from the
 * database; what a view shows for the first time counts at once, and goes on record behind it. The first that is on
 * record wins: another process that saw something else meanwhile takes over what stands there.
 */
export class ToolPins {
  readonly #deps: ToolPinsDeps;
  readonly #rows: PinRows;
  readonly #places: Map<string, PinnedPlace>;
  readonly #unrecorded = new Map<string, Recording>();
  readonly #recordings = new Map<string, Promise<void>>();
  #turn: Promise<unknown> = Promise.resolve();
  #listener: (server: string) => void = () => {};
  #timer: NodeJS.Timeout | undefined;
  #retry: NodeJS.Timeout | undefined;
  #fault: string | undefined;

  private constructor(deps: ToolPinsDeps, rows: PinRows, places: Map<string, PinnedPlace>) {
    this.#deps = deps;
    this.#rows = rows;
    this.#places = places;
  }

  static async open(deps: ToolPinsDeps): Promise<ToolPins> {
    const rows = new PinRows(deps.store, deps.audit);
    const pins = new ToolPins(deps, rows, await rows.readAll());
    if (deps.store.dialect === 'postgres')
      pins.#timer = setInterval(() => void pins.#look(), LOOK_EVERY_MS).unref();
    return pins;
  }

  /** What is accepted of this server is not what it was. */
  onChange(listener: (server: string) => void): void {
    this.#listener = listener;
  }

  /** The tools of a list whose definitions the project has not accepted. What it sees for the first time is kept. */
  unaccepted(
    project: ProjectEntry,
    serverName: string,
    tools: readonly { name: string; definition: JsonObject }[],
  ): ReadonlyMap<string, Unaccepted> {
    const server = this.#deps.snapshot().servers.get(serverName);
    if (!server) return NOTHING;
    const place: Place = { project: { name: project.name, uid: project.uid }, server };
    const key = placeKey(place);
    const known = this.#places.get(key);
    const { tools: pinned } = known ?? { tools: new Map<string, Map<string, boolean>>() };
    if (!known) this.#places.set(key, { version: 0, tools: pinned });
    const { newTools, changedTools } = project.spec;
    const news: SeenDefinition[] = [];
    let found: Map<string, Unaccepted> | undefined;
    for (const { name: tool, definition } of tools) {
      const fingerprint = definitionFingerprint(definition);
      if (unacceptedFor(pinned.get(tool), fingerprint) === undefined) continue;
      const one = { tool, fingerprint, definition, isFirst: !known, newTools, changedTools };
      const keepable = pinned.has(tool) || pinned.size < MAX_TOOLS;
      const { isNews, why } = keepable ? admit(pinned, one) : { isNews: false, why: 'new' as const };
      if (isNews) news.push(one);
      if (why !== undefined) {
        found ??= new Map();
        found.set(tool, why);
      }
    }
    if (!known || news.length > 0) this.#record(key, place, news);
    return found ?? NOTHING;
  }

  /** Undefined when all that the project has seen is on record; else for as long as that takes, within bounds. */
  recording({ uid }: ProjectEntry): Promise<unknown> | undefined {
    if (this.#recordings.size === 0) return undefined;
    const own = [...this.#recordings].flatMap(([key, work]) => (key.startsWith(`${uid}|`) ? [work] : []));
    if (own.length === 0) return undefined;
    return Promise.race([Promise.all(own), delay(PATIENCE_MS, undefined, { ref: false })]);
  }

  /** Every definition of a tool that the project has seen, the newest first. */
  async definitions(place: Place, tool: string): Promise<PinnedDefinition[]> {
    await this.#turn;
    return (await this.#rows.ofTool(place, tool)).map((row) => ({
      fingerprint: row.fingerprint,
      definition: row.definition === null ? undefined : (JSON.parse(row.definition) as JsonObject),
      seenAt: Number(row.seen_at),
      acceptedAt: row.accepted_at === null ? undefined : Number(row.accepted_at),
      acceptedBy: row.accepted_by ?? undefined,
    }));
  }

  /** From now on the project takes this very definition, here at once and in other processes within seconds. */
  accept(place: Place, wanted: { tool: string; fingerprint: string; by: string }): Promise<Accepted> {
    return this.#inTurn(async () => {
      const { outcome, now } = await this.#rows.accept(place, wanted);
      if (now) this.#adopt(placeKey(place), now);
      if (outcome === 'accepted') this.#listener(place.server.name);
      return outcome;
    });
  }

  /** A project or a server that is gone takes its pins along. */
  retain(now: Snapshot, before: Snapshot): void {
    const left = (kind: 'projects' | 'servers') => {
      const kept = new Set([...now[kind].values()].map(({ uid }) => uid));
      return [...before[kind].values()].flatMap(({ uid }) => (uid === '' || kept.has(uid) ? [] : [uid]));
    };
    for (const uid of left('projects')) this.#forget('project_uid', uid);
    for (const uid of left('servers')) this.#forget('server_uid', uid);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#turn;
    clearTimeout(this.#retry);
  }

  #record(key: string, place: Place, seen: readonly SeenDefinition[]): void {
    const waiting = this.#unrecorded.get(key) ?? { place, seen: [] };
    this.#unrecorded.set(key, waiting);
    waiting.seen.push(...seen.slice(0, Math.max(0, MAX_UNRECORDED - waiting.seen.length)));
    if (this.#recordings.has(key)) return;
    const work = this.#inTurn(() => this.#writeDown(key)).finally(() => {
      this.#recordings.delete(key);
      // What came while it was written.
      if (this.#retry === undefined && this.#unrecorded.has(key)) this.#record(key, place, []);
    });
    this.#recordings.set(key, work);
  }

  async #writeDown(key: string): Promise<void> {
    const batch = this.#unrecorded.get(key);
    if (!batch) return;
    this.#unrecorded.delete(key);
    try {
      const now = await this.#rows.keep(batch.place, batch.seen);
      this.#fault = undefined;
      if (this.#adopt(key, now)) this.#listener(batch.place.server.name);
    } catch (error) {
      this.#complain('definitions of tools could not be recorded', error);
      const later = this.#unrecorded.get(key)?.seen ?? [];
      this.#unrecorded.set(key, { place: batch.place, seen: [...batch.seen, ...later] });
      this.#retry ??= setTimeout(() => this.#tryAgain(), LOOK_EVERY_MS).unref();
    }
  }

  #tryAgain(): void {
    this.#retry = undefined;
    for (const [key, { place }] of [...this.#unrecorded]) this.#record(key, place, []);
  }

  /** Takes over what is on record of a place, and on top of it what is not yet. True: something else counts now. */
  #adopt(key: string, now: PinnedPlace): boolean {
    const before = this.#places.get(key);
    for (const one of this.#unrecorded.get(key)?.seen ?? []) admit(now.tools, { ...one, isFirst: false });
    this.#places.set(key, now);
    return textOf(before) !== textOf(now);
  }

  #forget(column: 'project_uid' | 'server_uid', uid: string): void {
    void this.#inTurn(async () => {
      for (const key of this.#places.keys()) {
        const [project, server] = key.split('|');
        if ((column === 'project_uid' ? project : server) !== uid) continue;
        this.#places.delete(key);
        this.#unrecorded.delete(key);
      }
      await this.#rows.forget(column, uid);
    }).catch((error) => this.#deps.logger.warn({ error: messageOf(error) }, 'old pins were not removed'));
  }

  /** Takes over what other processes have recorded or accepted. */
  #look(): Promise<void> {
    return this.#inTurn(async () => {
      const versions = await this.#rows.versions();
      for (const [key, { version }] of [...this.#places]) {
        if (version > 0 && !versions.has(key)) this.#places.delete(key);
      }
      for (const [key, version] of versions) {
        if (this.#places.get(key)?.version === version) continue;
        const changed = this.#adopt(key, { version, tools: await this.#rows.read(key) });
        const name = changed ? this.#nameOf(key) : undefined;
        if (name !== undefined) this.#listener(name);
      }
    }).catch((error) =>
      this.#complain('accepted definitions could not be read; the last known count', error),
    );
  }

  /** Once a fault: it is tried again every few seconds. */
  #complain(what: string, error: unknown): void {
    const fault = messageOf(error);
    if (fault !== this.#fault) this.#deps.logger.warn({ error: fault }, what);
    this.#fault = fault;
  }

  #nameOf(key: string): string | undefined {
    const [, uid] = key.split('|');
    return [...this.#deps.snapshot().servers.values()].find((one) => one.uid === uid)?.name;
  }

  /** One after another: what is read later is never replaced by what was read before. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const outcome = this.#turn.then(work);
    this.#turn = outcome.catch(() => undefined);
    return outcome;
  }
}

function textOf(place: PinnedPlace | undefined): string {
  return JSON.stringify([...(place?.tools ?? [])].map(([tool, known]) => [tool, [...known]]).sort());
}
