import type { ToolRefusalCode } from '../../gateway/refusals.ts';
import type { ActName, Capacity } from './transitions.ts';

/**
 * Why something was not done to a ticket. `field`: the argument that has to be another one; `possible`: what this actor
 * can do instead.
 */
export type TicketRefusal = {
  code: ToolRefusalCode;
  message: string;
  field?: string;
  possible?: readonly ActName[];
};

const WHOSE: Readonly<Record<Capacity, string>> = {
  caller: 'the caller, who created it',
  handler: 'a handler, who has role:handle,resource:tickets and another owner than the caller',
  human: 'a person, on the command line or a page',
};

export function wrong(field: string, fault: string): TicketRefusal {
  return { code: 'INVALID_ARGUMENT', field, message: `${field} ${fault}` };
}

/** The same whether there is none, it is of another project, or it is not to be seen. */
export function unknownTicket(field: string): TicketRefusal {
  const message = `${field} names no ticket that you may see: list_tickets shows those that you may`;
  return { code: 'NOT_FOUND', field, message };
}

export function notYours(id: string, act: string, who: readonly Capacity[]): TicketRefusal {
  const whose = who.map((one) => WHOSE[one]).join(', or ');
  return { code: 'NOT_PERMITTED', message: `${act} on ticket ${id} is for ${whose}: leave it to them` };
}

export function onHold(id: string): TicketRefusal {
  return {
    code: 'ON_HOLD',
    message: `ticket ${id} is on hold until a human authorizes; wait, do not retry`,
  };
}

export function conflict(message: string): TicketRefusal {
  return { code: 'CONFLICT', message };
}
