import type { Audit } from '../../audit/audit.ts';
import { type AuditFilter, checkedFilter, FILTERS } from '../../audit/filter.ts';
import { type AuditQuery, queryEvents } from '../../audit/query.ts';
import { AuditTail } from '../../audit/tail.ts';
import { AuditVerifier, type VerifyReport } from '../../audit/verify.ts';
import { Refusal } from '../../base/errors.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import type { Ask } from '../../identity/decide.ts';
import { duration } from '../../resources/quantities.ts';
import type { Store } from '../../store/database.ts';
import type { OpenStreams } from '../open-streams.ts';
import { HeldRequest } from './held-request.ts';
import { type ApiContext, flag } from './responses.ts';
import type { Route } from './route.ts';
import type { RouteDoc } from './route-doc.ts';

type Deps = { audit: Audit; store: Store; authorizer: Authorizer; streams: OpenStreams };

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1_000;
const EXPORT_PAGE = 500;

const STRETCH = {
  since: { description: 'How long ago (1h, 7d), or an ISO 8601 time.' },
  until: { description: 'Likewise; that moment itself is left out.' },
  order: { description: 'newest (default) or oldest first.' },
  limit: { description: `At most this many, up to ${MAX_LIMIT} (default: ${DEFAULT_LIMIT}).` },
  cursor: { description: '`next` of the page before.' },
};
const FILTERED = Object.fromEntries(
  Object.keys(FILTERS).map((name) => [name, { description: `Only events with this ${name}.` }]),
);
const LIST: RouteDoc = {
  summary: 'List events of the audit, or wait for new ones',
  query: {
    ...FILTERED,
    ...STRETCH,
    watch: { description: 'Waits up to 25 seconds for an event after `after`.', type: 'boolean' },
    after: { description: '`next` of the answer before.' },
  },
  answer: 'AuditPage',
};

/** `/audit`: to be queried, followed, verified and taken away; there is no way to write it. */
export function auditRoutes({ audit, store, authorizer, streams }: Deps): Route[] {
  const db = store.background;
  const tail = new AuditTail(db, audit);
  let verifying: Promise<VerifyReport> | undefined;
  const verify = () => {
    // Whoever asks while one is under way gets the same answer: it reads every row.
    verifying ??= new AuditVerifier(db, audit.chains.keys).run().finally(() => {
      verifying = undefined;
    });
    return verifying;
  };
  const need = { ask: viewOf };
  const hold = (c: ApiContext): HeldRequest => {
    const [caller, ask] = [c.get('caller'), viewOf(c)];
    const held = new HeldRequest(caller, streams, () => authorizer.decide(caller, ask).allowed);
    if (streams.add(held)) return held;
    throw new Refusal('unavailable', 'you have too many streams open already: end one');
  };
  const list = async (c: ApiContext) => {
    const filter = filterOf(c);
    await audit.flush();
    if (!flag(c, 'watch')) return c.json(await queryEvents(db, queryOf(c, filter)));
    const after = c.req.query('after');
    const held = hold(c);
    try {
      const page = await tail.wait(filter, after, AbortSignal.any([c.req.raw.signal, held.signal]));
      // Whoever was let in and is no more hears why when they ask again.
      return c.json(held.goesOn ? page : { items: [], next: after ?? page.next });
    } finally {
      held.close();
    }
  };
  return [
    { method: 'GET', path: '/audit', need, doc: LIST, handle: list },
    {
      method: 'GET',
      path: '/audit/verify',
      // The chains hold every project's rows.
      need: { ask: () => ({ role: 'view', resource: 'audit' }) },
      doc: { summary: 'Check every chain of the audit', answer: 'AuditReport' },
      handle: async (c) => c.json(await verify()),
    },
    {
      method: 'GET',
      path: '/audit/export',
      need,
      doc: {
        summary: 'Take events away, one a line',
        query: { ...FILTERED, ...STRETCH },
        answer: 'AuditEvent',
        lines: true,
      },
      handle: async (c) => {
        const query = { ...queryOf(c, filterOf(c)), limit: EXPORT_PAGE };
        await audit.flush();
        const headers = { 'content-type': 'application/x-ndjson; charset=utf-8' };
        return new Response(jsonLines(db, query, hold(c)), { headers });
      },
    },
    { method: 'GET', path: '/auditevents', need, doc: LIST, handle: list },
    {
      method: 'GET',
      path: '/auditevents/:id',
      need,
      doc: { summary: 'Show one event of the audit', query: FILTERED, answer: 'AuditEvent' },
      handle: async (c) => c.json(await oneEvent(store, c)),
    },
  ];
}

/** A page a pull, so that a slow reader holds up nobody and nothing gathers. */
function jsonLines(
  db: Store['background'],
  query: AuditQuery,
  held: HeldRequest,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  let cursor = query.cursor;
  return new ReadableStream({
    async pull(controller) {
      try {
        const page = await queryEvents(db, { ...query, cursor });
        if (!held.goesOn) throw new Error('the credential or its right to read the audit has ended');
        cursor = page.next;
        const lines = page.items.map((item) => `${JSON.stringify(item)}\n`).join('');
        if (lines !== '') controller.enqueue(encoder.encode(lines));
      } catch (error) {
        held.close();
        throw error;
      }
      if (cursor !== undefined) return;
      held.close();
      controller.close();
    },
    cancel: () => held.close(),
  });
}

async function oneEvent({ background }: Store, c: ApiContext) {
  const id = c.req.param('id') ?? '';
  const [chain = '', seq = ''] = id.split('.', 2);
  const filter = { ...filterOf(c), chain, ...(/^\d{1,15}$/.test(seq) ? { seq } : { seq: '0' }) };
  const { items } = await queryEvents(background, { filter, order: 'newest', limit: 1 });
  if (items[0]) return items[0];
  throw new Refusal('not_found', `there is no audit event ${id.slice(0, 100)}`);
}

/** A token sees the rows of its own project, whatever it asks for. */
function projectOf(c: ApiContext): string | undefined {
  const { project } = c.get('caller');
  return c.req.query('project') ?? (project === '*' ? undefined : project);
}

function viewOf(c: ApiContext): Ask {
  const project = projectOf(c);
  return { role: 'view', resource: 'audit', ...(project === undefined ? {} : { project }) };
}

function filterOf(c: ApiContext): AuditFilter {
  const given = c.req.query();
  const filter: Record<string, string> = {};
  for (const name of Object.keys(FILTERS)) {
    const value = given[name];
    if (value !== undefined) filter[name] = value;
  }
  const project = projectOf(c);
  return checkedFilter(project === undefined ? filter : { ...filter, project });
}

function queryOf(c: ApiContext, filter: AuditFilter): AuditQuery {
  const { since, until, order = 'newest', limit, cursor } = c.req.query();
  if (order !== 'newest' && order !== 'oldest')
    throw new Refusal('invalid', 'order: must be newest or oldest');
  return {
    filter,
    order,
    limit: limit === undefined ? DEFAULT_LIMIT : limitOf(limit),
    ...(since === undefined ? {} : { since: timeOf('since', since) }),
    ...(until === undefined ? {} : { until: timeOf('until', until) }),
    ...(cursor === undefined ? {} : { cursor }),
  };
}

function limitOf(text: string): number {
  const limit = /^\d{1,6}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= MAX_LIMIT) return limit;
  throw new Refusal('invalid', `limit: must be a number from 1 to ${MAX_LIMIT}`);
}

/** A moment, or how long ago it was. */
function timeOf(field: string, text: string): number {
  const ago = duration.parse(text);
  if (ago !== undefined) return Date.now() - ago;
  const moment = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(moment)) return moment;
  throw new Refusal('invalid', `${field}: write how long ago (1h, 30m, 7d) or an ISO 8601 time`);
}
