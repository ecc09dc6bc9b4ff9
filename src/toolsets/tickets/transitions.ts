import type { Status } from './ticket.ts';

/** A ticket that waits for a person to authorize it is pending, and more is closed to it. */
export type State = Status | 'on_hold';

export const ACTS = [
  'note',
  'ack',
  'status',
  'block',
  'propose',
  'accept',
  'reject',
  'cancel',
  'move',
  'followup',
  'authorize',
  'defer',
  'edit',
] as const;
export type ActName = (typeof ACTS)[number];

/**
 * In which capacity somebody acts. The caller is the principal that created the ticket; a handler has `handle` on it
 * and another owner; a human acts in person, by the command line of the data directory or a signed-in page.
 */
export type Capacity = 'caller' | 'handler' | 'human';

export type Transition = { act: ActName; from: State; to: State; who: readonly Capacity[] };

const OPEN = ['pending', 'in_progress', 'blocked', 'resolution_proposed'] as const;
const WORKABLE = ['pending', 'in_progress', 'blocked'] as const;

function from(states: readonly State[], act: ActName, to: State, ...who: Capacity[]): Transition[] {
  return states.map((state) => ({ act, from: state, to, who }));
}

function staying(states: readonly State[], act: ActName, ...who: Capacity[]): Transition[] {
  return states.map((state) => ({ act, from: state, to: state, who }));
}

/** Everything that can happen to a ticket; what is not here is refused. docs/tickets.md shows it, and a test compares. */
export const TRANSITIONS: readonly Transition[] = [
  ...staying(OPEN, 'note', 'caller', 'handler', 'human'),
  ...from(['pending'], 'ack', 'in_progress', 'handler'),
  ...from(WORKABLE, 'status', 'in_progress', 'handler'),
  ...from(['pending', 'in_progress'], 'block', 'blocked', 'handler'),
  ...from(WORKABLE, 'propose', 'resolution_proposed', 'handler'),
  ...from(['resolution_proposed'], 'accept', 'resolved', 'caller', 'human'),
  ...from(['resolution_proposed'], 'reject', 'in_progress', 'caller', 'human'),
  ...from(OPEN, 'cancel', 'cancelled', 'caller', 'human'),
  ...from(['in_progress', 'blocked', 'resolved', 'cancelled'], 'move', 'pending', 'caller', 'human'),
  ...from(['blocked'], 'move', 'in_progress', 'caller', 'human'),
  ...from(['pending', 'in_progress'], 'move', 'blocked', 'caller', 'human'),
  ...from(['pending'], 'move', 'in_progress', 'human'),
  ...staying([...OPEN, 'resolved', 'cancelled'], 'followup', 'caller', 'handler', 'human'),
  ...staying(WORKABLE, 'edit', 'human'),
  // A ticket on hold: one acknowledgement from a handler, and people.
  ...staying(['on_hold'], 'ack', 'handler'),
  ...staying(['on_hold'], 'note', 'human'),
  ...staying(['on_hold'], 'followup', 'human'),
  ...staying(['on_hold'], 'defer', 'human'),
  ...staying(['on_hold'], 'edit', 'human'),
  ...from(['on_hold'], 'authorize', 'pending', 'human'),
  ...from(['on_hold'], 'cancel', 'cancelled', 'human'),
];

export type Course =
  | { ok: true; to: State; as: Capacity }
  /** `who`: in which capacities it could be done from here. */
  | { ok: false; why: 'on_hold' }
  | { ok: false; why: 'not_yours'; who: readonly Capacity[] }
  | { ok: false; why: 'not_from_here'; possible: readonly ActName[] };

/**
 * Which way an act leads. The first capacity of the row that the actor has is the one in which they act.
 * @param to for `move`: the status that is wanted
 * @param acknowledged whether a ticket on hold has had its one acknowledgement
 */
export function courseOf(
  act: ActName,
  state: State,
  actor: { capacities: ReadonlySet<Capacity>; to?: Status | undefined; acknowledged: boolean },
): Course {
  const { capacities, to, acknowledged } = actor;
  const rows = TRANSITIONS.filter((row) => row.from === state);
  const row = rows.find((one) => one.act === act && (act !== 'move' || one.to === to));
  const as = row?.who.find((one) => capacities.has(one));
  const spent = state === 'on_hold' && act === 'ack' && acknowledged;
  if (row && as && !spent) return { ok: true, to: row.to, as };
  if (state === 'on_hold' && !capacities.has('human')) return { ok: false, why: 'on_hold' };
  if (row && !spent) return { ok: false, why: 'not_yours', who: row.who };
  const mine = rows.filter(({ who }) => who.some((one) => capacities.has(one)));
  return { ok: false, why: 'not_from_here', possible: [...new Set(mine.map((one) => one.act))] };
}
