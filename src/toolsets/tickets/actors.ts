import type { Authorizer } from '../../identity/authorizer.ts';
import type { AuthenticatedCaller } from '../../identity/caller.ts';
import type { Role } from '../../resources/bindings.ts';
import type { ProjectEntry } from '../../resources/spec.ts';
import { type TicketRefusal, wrong } from './refused.ts';
import type { TicketRow } from './ticket-rows.ts';
import type { Capacity } from './transitions.ts';

/**
 * Who acts, and where. `inPerson`: by a way that only people have; what comes through an MCP endpoint never is, and
 * nobody is who acts as somebody else.
 */
export type Actor = { caller: AuthenticatedCaller; project: ProjectEntry; inPerson: boolean };

type Origin = Pick<TicketRow, 'id' | 'created_by' | 'created_owner'>;

/** Says in which capacities somebody stands to a ticket. */
export class Actors {
  readonly #authorizer: Authorizer;

  constructor(authorizer: Authorizer) {
    this.#authorizer = authorizer;
  }

  capacities(actor: Actor, ticket: Origin): ReadonlySet<Capacity> {
    const { caller, project, inPerson } = actor;
    const all = new Set<Capacity>();
    const isOwn = caller.owner === ticket.created_owner;
    if (isCaller(caller, ticket)) all.add('caller');
    if ((!isOwn || project.spec.tickets.selfHandle) && this.#may(actor, 'handle', ticket.id))
      all.add('handler');
    if (inPerson && (isOwn || this.#may(actor, 'edit', ticket.id))) all.add('human');
    return all;
  }

  /** Every ticket of the project, and not only those that they created. */
  seesAll(actor: Actor): boolean {
    return this.#may(actor, 'view') || this.#may(actor, 'handle');
  }

  sees(actor: Actor, ticket: Origin): boolean {
    if (isCaller(actor.caller, ticket)) return true;
    if (actor.inPerson && actor.caller.owner === ticket.created_owner) return true;
    return this.#may(actor, 'view', ticket.id) || this.#may(actor, 'handle', ticket.id);
  }

  /** Nobody is taken for whom they say they are: what is said has to be what is known. */
  claimFault({ caller }: Actor, claimed: string | undefined, as: Capacity): TicketRefusal | undefined {
    if (claimed === undefined || claimed === as || claimed === caller.principal) return undefined;
    return wrong('actor', `is derived, and here it is ${as} (${caller.principal}): leave it out`);
  }

  #may({ caller, project }: Actor, role: Role, name?: string): boolean {
    const ask = { role, resource: 'tickets', project: project.name } as const;
    return this.#authorizer.decide(caller, name === undefined ? ask : { ...ask, name }).allowed;
  }
}

/** One OAuth client is the same principal for every user that it acts for. */
function isCaller({ principal, owner }: AuthenticatedCaller, ticket: Origin): boolean {
  return principal === ticket.created_by && owner === ticket.created_owner;
}

/** How an actor was proven. */
export function provenanceOf({ principal }: AuthenticatedCaller): 'session' | 'token' | 'oauth' {
  if (principal.startsWith('McpToken:')) return 'token';
  return principal.startsWith('OAuthClient:') ? 'oauth' : 'session';
}
