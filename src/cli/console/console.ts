import type { ServerClient } from '../server-client.ts';
import { AuditFeed } from './feed.ts';
import type { Filter } from './filters.ts';
import { type Key, press } from './keys.ts';
import { type Arrival, arrive, firstState, type Size, type State } from './model.ts';

type ConsoleSettings = {
  connect: () => Promise<ServerClient>;
  project: string | undefined;
  filter: Filter;
  colours: boolean;
};

const ENDINGS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
type Ending = (typeof ENDINGS)[number];

/**
 * Shows the audit until the reader quits; answers with the signal that ended it, if one did. The terminal is as it was
 * whatever happens.
 * @throws CommandFailure before anything is drawn when the server is away or refuses; later when it begins to refuse
 */
export async function runConsole(settings: ConsoleSettings): Promise<Ending | undefined> {
  const early: Arrival[] = [];
  let deliver = (arrival: Arrival): void => void early.push(arrival);
  const { connect, project, filter, colours } = settings;
  const feed = await AuditFeed.open({ connect, project, arrive: (arrival) => deliver(arrival) });
  await feed.begin(filter);
  const shown = new ShownState(firstState(feed.server, sizeNow(), filter), feed);
  deliver = (arrival) => shown.change((state) => arrive(state, arrival));
  for (const arrival of early) deliver(arrival);
  return show(shown, feed, colours);
}

async function show(shown: ShownState, feed: AuditFeed, colours: boolean): Promise<Ending | undefined> {
  // Both libraries record every render for their developers unless told that this is no development.
  process.env.NODE_ENV = 'production';
  const { openScreen } = await import('./screen.ts');
  const over = new AbortController();
  const ended = Promise.withResolvers<Ending | undefined>();
  const endings = ENDINGS.map((signal) => ({ signal, end: () => ended.resolve(signal) }));
  const resize = () => shown.change((state) => arrive(state, { type: 'resize', size: sizeNow() }));
  // Ink's own listener kills the process when it finds itself alone, which `once` would let it.
  for (const { signal, end } of endings) process.on(signal, end);
  process.once('uncaughtException', ended.reject);
  process.stdout.on('resize', resize);
  const screen = openScreen({
    state: shown,
    colours,
    onKeys: (keys: readonly Key[]) => shown.change((state) => keys.reduce(press, state)),
  });
  shown.subscribe(() => shown.get().over && ended.resolve(undefined));
  screen.left.then(() => ended.resolve(undefined), ended.reject);
  feed.follow(over.signal).catch(ended.reject);
  try {
    return await ended.promise;
  } finally {
    over.abort();
    screen.leave();
    await screen.left.catch(() => undefined);
    process.stdout.off('resize', resize);
    process.off('uncaughtException', ended.reject);
    for (const { signal, end } of endings) process.off(signal, end);
  }
}

/** The state on the screen. A change that wants something of the server asks for it. */
class ShownState {
  #state: State;
  readonly #feed: AuditFeed;
  readonly #listeners = new Set<() => void>();

  constructor(state: State, feed: AuditFeed) {
    this.#state = state;
    this.#feed = feed;
  }

  get = (): State => this.#state;

  subscribe = (changed: () => void): (() => void) => {
    this.#listeners.add(changed);
    return () => this.#listeners.delete(changed);
  };

  change(how: (state: State) => State): void {
    const before = this.#state;
    const after = how(before);
    if (after === before) return;
    this.#state = after;
    if (after.filter !== before.filter) void this.#feed.load(after.filter);
    const { older } = after;
    if (after.loading === 'older' && before.loading !== 'older' && older !== undefined) {
      void this.#feed.loadOlder(after.filter, older);
    }
    for (const changed of this.#listeners) changed();
  }
}

function sizeNow(): Size {
  const { columns, rows } = process.stdout;
  return { columns: columns || 80, rows: rows || 24 };
}
