import { z } from 'zod';
import { keysOnly, textThat } from '../../resources/problems.ts';
import {
  LINK_KINDS,
  MAX_BODY_BYTES,
  MAX_LINKS,
  MAX_TEXT_BYTES,
  PRIORITIES,
  PROPOSALS,
  STATUSES,
  TICKET_ID,
} from './ticket.ts';

/** What callers send, by the tools, the API and the command line alike. */

const atMost = (bytes: number, what: string) =>
  textThat((value) => {
    if (value.trim() === '') return 'is empty: write something';
    // PostgreSQL keeps none in a text.
    if (value.includes('\0')) return 'contains a NUL character: remove it';
    return Buffer.byteLength(value) > bytes ? `is larger than ${what}: shorten it` : undefined;
  });
const line = (length: number) =>
  textThat((value) =>
    value.trim() === '' || value.length > length || /\p{Cc}/u.test(value)
      ? `must be one line of 1 to ${length} characters: rewrite it`
      : undefined,
  );

export const ticketId = textThat((value) =>
  TICKET_ID.test(value) ? undefined : 'is no id of a ticket: use one that list_tickets or create_ticket gave',
).describe('Id of a ticket, tkt_ and 22 characters.');

export const text = atMost(MAX_TEXT_BYTES, '32 KiB').describe('Markdown, at most 32 KiB.');
export const title = line(200).describe('One line, at most 200 characters.');
export const body = atMost(MAX_BODY_BYTES, '256 KiB').describe('Markdown, at most 256 KiB.');
export const labels = z.array(line(64)).max(20);
export const ticketType = textThat((value) =>
  /^[a-z][a-z0-9_-]{0,31}$/.test(value)
    ? undefined
    : 'must be a short word such as bug, feature, question or task: use a-z, 0-9, "_" and "-"',
).describe('A short word such as bug, feature, question or task.');

/** Members that every write takes. */
export const WRITE = {
  actor: line(256)
    .optional()
    .describe(
      'Leave it out: it is derived. Accepted only when it says caller, handler, human or the principal rightly.',
    ),
  idempotency_key: line(128)
    .optional()
    .describe(
      'The same call again with the same key is done once, and answers with the ticket as it is then.',
    ),
};

const CONTENT = {
  title,
  body,
  ticket_type: ticketType.default('task'),
  priority: z.enum(PRIORITIES).default('P2'),
  labels: labels.default([]),
};

export const NewTicket = keysOnly({
  ...CONTENT,
  links: z
    .array(keysOnly({ kind: z.enum(LINK_KINDS), ticket_id: ticketId }))
    .max(MAX_LINKS)
    .default([])
    .describe('What this ticket is to others; each shows at both ends.'),
  hold: z.boolean().default(false).describe('True: nothing happens until a person authorizes it.'),
  ...WRITE,
});
export type NewTicket = z.output<typeof NewTicket>;

export const NewFollowup = keysOnly({ ...CONTENT, ...WRITE });
export type NewFollowup = z.output<typeof NewFollowup>;
export const FOLLOWUP_CONTENT = CONTENT;

const act = <Name extends string, Shape extends z.ZodRawShape>(name: Name, shape: Shape) =>
  keysOnly({ act: z.literal(name), ...shape, ...WRITE });

/** One thing that is done to a ticket. */
export const Act = z.discriminatedUnion('act', [
  act('note', { text }),
  act('ack', { text: text.optional() }),
  act('status', { text }),
  act('block', { text }),
  act('propose', { resolution: z.enum(PROPOSALS), text }),
  act('accept', { text: text.optional() }),
  act('reject', { text }),
  act('cancel', {
    resolution: z.enum(['cancelled', 'superseded']).default('cancelled'),
    text: text.optional(),
  }),
  act('move', { status: z.enum(STATUSES), text: text.optional() }),
  act('authorize', { text: text.optional() }),
  act('defer', { until: z.iso.datetime({ offset: true }).optional(), text: text.optional() }),
  act('edit', {
    title: title.optional(),
    body: body.optional(),
    ticket_type: ticketType.optional(),
    priority: z.enum(PRIORITIES).optional(),
    labels: labels.optional(),
    text: text.optional(),
  }),
]);
export type Act = z.output<typeof Act>;

export const ListWish = keysOnly({
  query: line(200)
    .optional()
    .describe('Whole words that all stand in title, body or comments; deploy* also finds deployment.'),
  status: z.array(z.enum(STATUSES)).max(STATUSES.length).optional(),
  ticket_type: ticketType.optional(),
  priority: z.enum(PRIORITIES).optional(),
  label: line(64).optional(),
  mine: z.boolean().optional().describe('True: only those that this caller created.'),
  limit: z.int().min(1).max(100).default(20),
  cursor: line(200).optional().describe('next_cursor of the page before, with the same filters.'),
});
export type ListWish = z.output<typeof ListWish>;
