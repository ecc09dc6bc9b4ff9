import type { z } from 'zod';
import { Refusal, type RefusalKind } from '../../base/errors.ts';
import type { ToolRefusalCode } from '../../gateway/refusals.ts';
import type { AuthenticatedCaller } from '../../identity/caller.ts';
import { fieldName, problemsOf } from '../../resources/problems.ts';
import type { Resources } from '../../resources/registry.ts';
import type { ProjectEntry } from '../../resources/spec.ts';
import type { Actor } from '../../toolsets/tickets/actors.ts';
import { Act, ListWish, NewFollowup, NewTicket } from '../../toolsets/tickets/arguments.ts';
import type { TicketRefusal } from '../../toolsets/tickets/refused.ts';
import { TICKET_ID } from '../../toolsets/tickets/ticket.ts';
import type { Tickets } from '../../toolsets/tickets/tickets.ts';
import { type ApiContext, flag, jsonObject } from './responses.ts';
import { notThere, type Route } from './route.ts';
import { OF_PROJECT } from './route-doc.ts';

type Deps = { resources: Resources; tickets: Tickets };

const KIND_OF: Readonly<Partial<Record<ToolRefusalCode, RefusalKind>>> = {
  NOT_FOUND: 'not_found',
  NOT_PERMITTED: 'forbidden',
  CONFLICT: 'conflict',
  ON_HOLD: 'conflict',
};

const LIST_QUERY = {
  ...OF_PROJECT,
  query: { description: 'Whole words that all stand in it; deploy* also finds deployment.' },
  status: { description: 'One or several, with commas.' },
  type: { description: 'Such as bug.' },
  priority: { description: 'P0 to P4.' },
  label: { description: 'One label.' },
  mine: { description: 'Only those that this credential created.', type: 'boolean' },
  limit: { description: '1 to 100; 20 without it.' },
  cursor: { description: 'nextCursor of the page before.' },
} as const;

/** `/tickets`: the same tickets as over MCP, and the acts that people alone have. */
export function ticketRoutes(deps: Deps): Route[] {
  const { tickets } = deps;
  const named = (c: ApiContext) => ownProject(c) ?? '';
  return [
    {
      method: 'GET',
      path: '/tickets',
      need: { list: (c) => ({ resource: 'tickets', project: named(c) }) },
      doc: { summary: 'List and search the tickets of a project', query: LIST_QUERY, answer: 'TicketList' },
      handle: async (c) => {
        const listed = await tickets.list(actorOf(c, projectNamed(deps, named(c))), listWish(c));
        if (!listed.ok) throw asRefusal(listed.error);
        const { tickets: items, count, next_cursor: nextCursor } = listed.value;
        return c.json({ items, count, ...(nextCursor !== null && { nextCursor }) });
      },
    },
    {
      method: 'GET',
      path: '/tickets/:id',
      need: 'credential',
      doc: {
        summary: 'Show a ticket with its history',
        query: { historyAfter: { description: 'Lines after this seq; -1 begins with the first.' } },
        answer: 'Ticket',
      },
      handle: async (c) => {
        const { actor, id } = await found(deps, c);
        return answered(c, await tickets.get(actor, id, historyAfter(c)));
      },
    },
    {
      method: 'POST',
      path: '/tickets',
      need: { ask: (c) => ({ role: 'create', resource: 'tickets', project: named(c) }) },
      doc: {
        summary: 'Create a ticket',
        query: OF_PROJECT,
        body: 'NewTicket',
        answer: 'Ticket',
        status: 201,
      },
      handle: async (c) => {
        const wish = checked(NewTicket, await jsonObject(c));
        return answered(c, await tickets.create(actorOf(c, projectNamed(deps, named(c))), wish), 201);
      },
    },
    {
      method: 'POST',
      path: '/tickets/:id/followups',
      need: 'credential',
      doc: {
        summary: 'Create a ticket that follows it up',
        body: 'NewFollowup',
        answer: 'Ticket',
        status: 201,
      },
      handle: async (c) => {
        const { actor, id } = await found(deps, c);
        const wish = checked(NewFollowup, await jsonObject(c));
        return answered(c, await tickets.followup(actor, id, wish), 201);
      },
    },
    {
      method: 'POST',
      path: '/tickets/:id/acts',
      need: 'credential',
      doc: {
        summary: 'Do one thing to a ticket, in person or with a token',
        body: 'TicketAct',
        answer: 'Ticket',
      },
      handle: async (c) => {
        const { actor, id } = await found(deps, c);
        return answered(c, await tickets.act(actor, id, checked(Act, await jsonObject(c))));
      },
    },
  ];
}

/** The ticket of the path, for somebody who reaches its project. @throws Refusal `not_found` */
async function found({ resources, tickets }: Deps, c: ApiContext): Promise<{ actor: Actor; id: string }> {
  const id = c.req.param('id') ?? '';
  const uid = TICKET_ID.test(id) ? await tickets.projectOf(id) : undefined;
  const project = [...resources.snapshot().projects.values()].find((one) => one.uid === uid);
  const { project: reached } = c.get('caller');
  if (!project || (reached !== '*' && reached !== project.name))
    throw notThere({ resource: 'tickets', name: id });
  const actor = actorOf(c, project);
  if (!(await tickets.sees(actor, id))) throw notThere({ resource: 'tickets', name: id });
  return { actor, id };
}

function actorOf(c: ApiContext, project: ProjectEntry): Actor {
  const caller = c.get('caller');
  if (caller.projectUid !== undefined && caller.projectUid !== project.uid)
    throw notThere({ resource: 'projects', name: project.name });
  return { caller, project, inPerson: isInPerson(caller) };
}

/** Only the command line on the data directory comes here as a user; whoever acts as another one does not. */
function isInPerson({ principal, actor }: AuthenticatedCaller): boolean {
  return principal.startsWith('User:') && actor === undefined;
}

/** A token means its own project. */
function ownProject(c: ApiContext): string | undefined {
  const { project } = c.get('caller');
  return c.req.query('project') ?? (project === '*' ? undefined : project);
}

function projectNamed({ resources }: Deps, name: string): ProjectEntry {
  const project = resources.snapshot().projects.get(name);
  if (name === '') throw new Refusal('invalid', 'project: is missing: tickets belong to a project');
  if (!project) throw notThere({ resource: 'projects', name });
  return project;
}

function listWish(c: ApiContext): z.output<typeof ListWish> {
  const { query, status, type, priority, label, limit, cursor } = c.req.query();
  return checked(ListWish, {
    query,
    status: status?.split(','),
    ticket_type: type,
    priority,
    label,
    mine: flag(c, 'mine'),
    limit: limit === undefined ? undefined : Number(limit),
    cursor,
  });
}

function historyAfter(c: ApiContext): number | undefined {
  const after = c.req.query('historyAfter');
  if (after === undefined) return undefined;
  if (/^(-1|\d{1,9})$/.test(after)) return Number(after);
  throw new Refusal('invalid', 'historyAfter: must be a seq of the history: write a whole number');
}

function checked<Schema extends z.ZodType>(schema: Schema, given: unknown): z.output<Schema> {
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const told = problemsOf(schema, given, []).slice(0, 5);
  throw new Refusal('invalid', told.map(({ path, message }) => `${fieldName(path)}: ${message}`).join('; '));
}

function answered(
  c: ApiContext,
  outcome: Awaited<ReturnType<Tickets['get']>>,
  status: 200 | 201 = 200,
): Response {
  if (!outcome.ok) throw asRefusal(outcome.error);
  return c.json(outcome.value, status);
}

function asRefusal({ code, message }: TicketRefusal): Refusal {
  return new Refusal(KIND_OF[code] ?? 'invalid', message);
}
