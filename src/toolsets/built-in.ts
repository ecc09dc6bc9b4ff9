import type { Approvals } from '../approvals/approvals.ts';
import type { Audit } from '../audit/audit.ts';
import type { Logger } from '../base/logger.ts';
import { Toolsets } from '../gateway/toolsets.ts';
import type { Authorizer } from '../identity/authorizer.ts';
import type { Resources } from '../resources/registry.ts';
import type { Store } from '../store/database.ts';
import { approvalsToolset } from './approvals/toolset.ts';
import { reviewToolset } from './review/review.ts';
import { TicketWatches } from './tickets/ticket-watches.ts';
import { Tickets } from './tickets/tickets.ts';
import { ticketsToolset } from './tickets/toolset.ts';

/** What is behind the built-in toolsets, and the toolsets themselves. */
export type BuiltIn = { tickets: Tickets; toolsets: Toolsets };

type Deps = {
  store: Store;
  audit: Audit;
  resources: Resources;
  authorizer: Authorizer;
  approvals: Approvals;
  logger: Logger;
};

/** Every toolset of this process. @throws when a tool is on no surface, or on both */
export function openBuiltIn(stack: AsyncDisposableStack, deps: Deps): BuiltIn {
  const tickets = new Tickets(deps);
  const watches = new TicketWatches(tickets, deps.logger);
  stack.defer(() => watches.close());
  const { resources, authorizer, approvals } = deps;
  const toolsets = new Toolsets([
    ticketsToolset(tickets, watches),
    reviewToolset({ snapshot: () => resources.snapshot(), authorizer }),
    approvalsToolset(approvals),
  ]);
  return { tickets, toolsets };
}
