import { ok, type Result, refused } from '../../base/result.ts';
import type { Act } from './arguments.ts';
import { type TicketRefusal, wrong } from './refused.ts';
import type { TicketRow } from './ticket-rows.ts';
import type { State } from './transitions.ts';

/** What of a row becomes another one; `changed`: the fields that an edit changes. */
export type Change = { row: Partial<TicketRow>; changed: readonly string[] };

/** What an act that may be done makes of a ticket. */
export function changeOf(
  ticket: TicketRow,
  act: Act,
  { from, to }: { from: State; to: State },
  now: number,
): Result<Change, TicketRefusal> {
  const row: Partial<TicketRow> = { updated_at: now };
  if (to !== 'on_hold') Object.assign(row, { status: to, on_hold: 0, deferred_until: null });
  // A note on what is blocked leaves the reason.
  if (from === 'blocked' && to !== 'blocked') row.blocked_reason = null;
  if (from === 'resolved' || from === 'cancelled')
    Object.assign(row, { resolution: null, resolved_at: null, proposal: null });
  switch (act.act) {
    case 'ack':
      return ok({ row: { ...row, acknowledged: 1 }, changed: [] });
    case 'block':
      return ok({ row: { ...row, blocked_reason: act.text }, changed: [] });
    case 'move':
      if (to !== 'blocked') return ok({ row, changed: [] });
      if (act.text === undefined) return refused(wrong('text', 'is missing: say what blocks the ticket'));
      return ok({ row: { ...row, blocked_reason: act.text }, changed: [] });
    case 'propose': {
      const { resolution, text } = act;
      return ok({ row: { ...row, proposal: JSON.stringify({ resolution, text }) }, changed: [] });
    }
    case 'accept': {
      const { resolution } = JSON.parse(ticket.proposal ?? '{}') as { resolution: string };
      return ok({ row: { ...row, resolution, resolved_at: now }, changed: [] });
    }
    case 'reject':
      return ok({ row: { ...row, proposal: null }, changed: [] });
    case 'cancel':
      return ok({ row: { ...row, resolution: act.resolution, resolved_at: now }, changed: [] });
    case 'defer': {
      const until = act.until === undefined ? null : Date.parse(act.until);
      return ok({ row: { ...row, deferred_until: until }, changed: [] });
    }
    case 'edit':
      return edited(row, act);
    default:
      return ok({ row, changed: [] });
  }
}

function edited(row: Partial<TicketRow>, act: Act & { act: 'edit' }): Result<Change, TicketRefusal> {
  const { title, body, ticket_type, priority, labels } = act;
  const given = {
    ...(title !== undefined && { title }),
    ...(body !== undefined && { body }),
    ...(ticket_type !== undefined && { ticket_type }),
    ...(priority !== undefined && { priority }),
    ...(labels !== undefined && { labels: JSON.stringify([...new Set(labels)]) }),
  };
  const changed = Object.keys(given);
  if (changed.length === 0)
    return refused(
      wrong(
        'title',
        'or another field is missing: say what becomes of title, body, ticket_type, priority or labels',
      ),
    );
  return ok({ row: { ...row, ...given }, changed });
}
