import type { ApprovalView } from '../approvals/approval-view.ts';
import type { GrantView } from '../http/api/grant-routes.ts';
import type { ToolView } from '../http/api/live.ts';
import type { SessionView } from '../http/api/session-routes.ts';
import type { TicketSummary } from '../toolsets/tickets/ticket.ts';
import type { Printing } from './output.ts';
import {
  approvalPrinting,
  grantPrinting,
  sessionPrinting,
  ticketPrinting,
  toolPrinting,
} from './printings.ts';
import type { ServerClient } from './server-client.ts';
import { type LiveKind, projectOf } from './targets.ts';
import { cleanLine } from './terminal.ts';
import type { VerbContext } from './verbs.ts';

export type LiveFlags = { project?: string; surface: 'consumer' | 'operator' | 'all' };
export type LiveItem = ToolView | SessionView | GrantView | ApprovalView | TicketSummary;

/** What is there now of a kind that nobody writes. */
export type LiveList = {
  items: LiveItem[];
  /** Printed beside the items as JSON. */
  extra: Record<string, unknown>;
  warnings: string[];
  notes: string[];
  /** Where it was looked for. */
  place: string;
};

/** How the items of a live kind are printed and told apart. */
export function livePrinting(kind: LiveKind): Printing<LiveItem> {
  // Each printing reads items of its own kind alone, and a list holds one kind.
  const printings = {
    tools: toolPrinting,
    sessions: sessionPrinting,
    grants: grantPrinting,
    approvals: approvalPrinting,
    tickets: ticketPrinting,
  };
  return printings[kind] as Printing<LiveItem>;
}

export function isNamed(item: LiveItem, name: string): boolean {
  return 'canonical' in item ? item.canonical === name || item.name === name : item.id === name;
}

/**
 * @param names only these are wanted
 * @param query further filters of the kind
 */
export async function liveList(
  kind: LiveKind,
  client: ServerClient,
  flags: LiveFlags,
  context: VerbContext,
  names: readonly string[] = [],
  query: Readonly<Record<string, string | undefined>> = {},
): Promise<LiveList> {
  if (kind === 'tickets') return ticketList(client, flags, context, names, query);
  if (kind === 'tools') return toolList(client, flags, context);
  const { items } = await client.get(kind, { project: flags.project });
  return { items: items as LiveItem[], extra: {}, warnings: [], notes: [], place: client.origin };
}

async function toolList(client: ServerClient, flags: LiveFlags, context: VerbContext): Promise<LiveList> {
  const project = await projectOf(flags.project, client, context);
  const surface = flags.surface === 'all' ? undefined : flags.surface;
  const list = await client.get(`projects/${encodeURIComponent(project)}/tools`, { surface });
  const degraded = (list.degraded ?? []) as { server: string; reason: string }[];
  return {
    items: list.items as ToolView[],
    extra: { degraded, ...(list.note ? { note: list.note } : {}) },
    warnings: degraded.map(({ server, reason }) => `${server}: ${cleanLine(reason)}`),
    notes: list.note ? [cleanLine(String(list.note))] : [],
    place: `project ${project}`,
  };
}

async function ticketList(
  client: ServerClient,
  flags: LiveFlags,
  context: VerbContext,
  names: readonly string[],
  query: Readonly<Record<string, string | undefined>>,
): Promise<LiveList> {
  if (names.length > 0) {
    const found = names.map((id) => client.get(`tickets/${encodeURIComponent(id)}`));
    const items = (await Promise.all(found)) as unknown as TicketSummary[];
    return { items, extra: {}, warnings: [], notes: [], place: client.origin };
  }
  const project = await projectOf(flags.project, client, context);
  const { items, nextCursor } = await client.get('tickets', { ...query, project });
  const more = typeof nextCursor === 'string' ? nextCursor : undefined;
  return {
    items: items as TicketSummary[],
    extra: more === undefined ? {} : { nextCursor: more },
    warnings: [],
    notes: more === undefined ? [] : [`there are more: castellan tickets list --cursor ${more}`],
    place: `project ${project}`,
  };
}
