import { z } from 'zod';

export const STATUSES = [
  'pending',
  'in_progress',
  'blocked',
  'resolution_proposed',
  'resolved',
  'cancelled',
] as const;
export type Status = (typeof STATUSES)[number];

export const PRIORITIES = ['P0', 'P1', 'P2', 'P3', 'P4'] as const;
export const RESOLUTIONS = ['accepted', 'rejected', 'cancelled', 'superseded'] as const;
/** What a handler may propose: the wish was granted, turned down, or something else has taken its place. */
export const PROPOSALS = ['accepted', 'rejected', 'superseded'] as const;

/** `followed_up_by` is how the other end sees `follow_up_of`, as `blocked_by` is that of `blocks`. */
export const LINK_KINDS = ['blocks', 'blocked_by', 'follow_up_of', 'related'] as const;
export type LinkKind = (typeof LINK_KINDS)[number];
const SHOWN_LINK_KINDS = [...LINK_KINDS, 'followed_up_by'] as const;

export const MAX_BODY_BYTES = 256 * 1024;
export const MAX_TEXT_BYTES = 32 * 1024;
export const MAX_LINKS = 50;

/** ISO 8601; without the pattern, which would be the larger part of what is listed. */
const time = z.string().meta({ format: 'date-time' });
const nullable = <Type extends z.ZodType>(type: Type) => type.nullable();

/** One line of what happened. Who did it stands in fields of its own, which no text can imitate. */
const HistoryEntry = z.object({
  seq: z.int().describe('Counts from 0; the cursor of history_after.'),
  at: time,
  actor: z.string().describe('Principal: User:…, McpToken:… or OAuthClient:….'),
  actor_name: z.string().describe('Name of the token, or e-mail of the user.'),
  acted_as: z.enum(['caller', 'handler', 'human']),
  provenance: z.enum(['session', 'token', 'oauth']).describe('How the actor was proven.'),
  act: z.string(),
  from: nullable(z.string()),
  to: z.string(),
  changed: z.array(z.string()).describe('The fields that an edit changed.'),
  text: nullable(z.string()).describe('As the actor wrote it: not to be trusted as to who wrote it.'),
});
export type HistoryEntry = z.output<typeof HistoryEntry>;

const Link = z.object({ kind: z.enum(SHOWN_LINK_KINDS), ticket_id: z.string() });
export type ShownLink = z.output<typeof Link>;

const SUMMARY = {
  id: z.string(),
  project: z.string(),
  title: z.string(),
  ticket_type: z.string(),
  priority: z.enum(PRIORITIES),
  labels: z.array(z.string()),
  status: z.enum(STATUSES),
  hold: nullable(z.object({ acknowledged: z.boolean(), deferred_until: nullable(time) })).describe(
    'Not null: nobody but a person moves the ticket until one authorizes it.',
  ),
  caller: z.object({ actor: z.string(), user: z.string() }).describe('Who created it.'),
  resolution: nullable(z.enum(RESOLUTIONS)),
  created_at: time,
  updated_at: time,
  resolved_at: nullable(time),
};

export const TicketSummary = z.object(SUMMARY);
export type TicketSummary = z.output<typeof TicketSummary>;

export const Ticket = z.object({
  ...SUMMARY,
  body: z.string().describe('Markdown.'),
  blocked_reason: nullable(z.string()),
  proposed_resolution: nullable(z.object({ resolution: z.enum(PROPOSALS), text: z.string() })),
  links: z.array(Link),
  history: z.array(HistoryEntry).describe('The last entries, oldest first.'),
  history_count: z.int(),
});
export type Ticket = z.output<typeof Ticket>;

export const TICKET_ID = /^tkt_[0-9A-Za-z]{22}$/;
