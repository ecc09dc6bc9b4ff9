import assert from 'node:assert/strict';
import { it } from 'node:test';
import { onEachDatabase, openAudit, quietLogger } from '../../../test/support/databases.ts';
import { userCaller } from '../../../test/support/identity.ts';
import { eventually } from '../../../test/support/processes.ts';
import type { Result } from '../../base/result.ts';
import { Authorizer } from '../../identity/authorizer.ts';
import { buildAccess } from '../../resources/access-model.ts';
import type { Binding } from '../../resources/bindings.ts';
import { projectSpec } from '../../resources/project-fields.ts';
import type { Actor } from './actors.ts';
import { Act, ListWish, NewTicket } from './arguments.ts';
import type { TicketRefusal } from './refused.ts';
import { STATUSES, type Status, type Ticket } from './ticket.ts';
import { TicketWatches } from './ticket-watches.ts';
import { Tickets } from './tickets.ts';
import { ACTS, type ActName, type Capacity, type State, TRANSITIONS } from './transitions.ts';

const tickets = (role: 'view' | 'handle' | 'edit'): Binding => ({ role, resource: 'tickets' });
const RIGHTS: Readonly<Record<string, Binding[]>> = {
  'caller@example.com': [],
  'handler@example.com': [tickets('handle')],
  'human@example.com': [tickets('edit')],
  'none@example.com': [tickets('view')],
  'blind@example.com': [],
};
const access = buildAccess([
  ...Object.keys(RIGHTS).map((name) => ({ kind: 'User' as const, name, uid: name, spec: {} })),
  ...Object.entries(RIGHTS).map(([name, roleBindings]) => ({
    kind: 'Rbac' as const,
    name,
    uid: name,
    spec: { subjects: [{ kind: 'User', name }], roleBindings },
  })),
]);
const demo = { name: 'demo', uid: 'prj_demo', spec: projectSpec({}) };
const actor = (who: string, project = demo): Actor => ({
  caller: userCaller(`${who}@example.com`),
  project,
  inPerson: who === 'human',
});
const wish = (more: object = {}) => NewTicket.parse({ title: 'A wish', body: 'More of it.', ...more });
const act = (name: string, more: object = {}) => Act.parse({ act: name, ...more });

function good<T>(outcome: Result<T, TicketRefusal>): T {
  assert.ok(outcome.ok, JSON.stringify(outcome));
  return outcome.value;
}

function codeOf(outcome: Result<unknown, TicketRefusal>): string {
  return outcome.ok ? 'done' : outcome.error.code;
}

/** Acts that lead a new ticket into each state. */
const WAY: Readonly<Record<State, readonly [string, string, object?][]>> = {
  pending: [],
  on_hold: [],
  in_progress: [['handler', 'ack']],
  blocked: [['handler', 'block', { text: 'why' }]],
  resolution_proposed: [['handler', 'propose', { resolution: 'accepted', text: 'done' }]],
  resolved: [
    ['handler', 'propose', { resolution: 'accepted', text: 'done' }],
    ['caller', 'accept'],
  ],
  cancelled: [['caller', 'cancel']],
};

const EXTRA: Readonly<Record<string, object>> = {
  note: { text: 'said' },
  status: { text: 'said' },
  block: { text: 'said' },
  reject: { text: 'said' },
  propose: { resolution: 'accepted', text: 'said' },
  edit: { title: 'Another wish' },
};

onEachDatabase('tickets', (make) => {
  async function rig() {
    const database = await make();
    const { store, dataDir } = await database.open();
    const audit = await openAudit({ store, dataDir });
    const all = new Tickets({ store, audit, authorizer: new Authorizer(() => access) });
    const ticketIn = async (state: State): Promise<Ticket> => {
      let ticket = good(await all.create(actor('caller'), wish({ hold: state === 'on_hold' })));
      for (const [who, name, more] of WAY[state])
        ticket = good(await all.act(actor(who), ticket.id, act(name, more)));
      return ticket;
    };
    const rows = async (id: string) =>
      JSON.stringify([
        await store.db.selectFrom('tickets').selectAll().where('id', '=', id).execute(),
        await store.db.selectFrom('ticket_history').selectAll().where('ticket_id', '=', id).execute(),
        await store.db.selectFrom('ticket_links').selectAll().where('to_id', '=', id).execute(),
        await store.db.selectFrom('ticket_words').select('word').where('ticket_id', '=', id).execute(),
      ]);
    const dispose = async () => {
      await audit.close();
      await database.dispose();
    };
    return { all, audit, store, ticketIn, rows, [Symbol.asyncDispose]: dispose };
  }

  it('go the ways of the table and no others, and a refused act leaves nothing', async () => {
    await using one = await rig();
    const states = ['on_hold', ...STATUSES] as const;
    const tried = ACTS.filter((name) => name !== 'followup').flatMap(
      (name): (readonly [ActName, Status?])[] =>
        name === 'move' ? STATUSES.map((status) => [name, status]) : [[name]],
    );
    for (const state of states) {
      let ticket = await one.ticketIn(state);
      let before = await one.rows(ticket.id);
      for (const [name, status] of tried) {
        for (const who of ['caller', 'handler', 'human', 'none']) {
          const body = act(name, name === 'move' ? { status, text: 'said' } : EXTRA[name]);
          const outcome = await one.all.act(actor(who), ticket.id, body);
          const row = TRANSITIONS.find(
            (each) => each.act === name && each.from === state && (name !== 'move' || each.to === status),
          );
          const what = `${name} ${status ?? ''} of ${who} from ${state}`;
          if (!row?.who.includes(who as Capacity)) {
            const expected =
              state === 'on_hold' && who !== 'human' ? 'ON_HOLD' : row ? 'NOT_PERMITTED' : 'CONFLICT';
            assert.equal(codeOf(outcome), expected, what);
            assert.equal(await one.rows(ticket.id), before, `${what} leaves nothing`);
            continue;
          }
          const { status: is, hold, history } = good(outcome);
          assert.equal(hold ? 'on_hold' : is, row.to, what);
          const { at: _, seq: __, ...last } = history.at(-1)!;
          assert.deepEqual(last, {
            actor: `User:${who}@example.com`,
            actor_name: `${who}@example.com`,
            acted_as: who,
            provenance: 'session',
            act: name,
            from: state,
            to: row.to,
            text: body.text ?? null,
            changed: name === 'edit' ? ['title'] : [],
          });
          ticket = await one.ticketIn(state);
          before = await one.rows(ticket.id);
        }
      }
    }
  });

  it('on hold take one acknowledgement, and then wait for a person', async () => {
    await using one = await rig();
    const { id } = await one.ticketIn('on_hold');
    const held = good(await one.all.act(actor('handler'), id, act('ack')));
    assert.deepEqual(held.hold, { acknowledged: true, deferred_until: null });
    const again = await one.all.act(actor('handler'), id, act('ack'));
    assert.deepEqual(again, {
      ok: false,
      error: {
        code: 'ON_HOLD',
        message: `ticket ${id} is on hold until a human authorizes; wait, do not retry`,
      },
    });
    assert.equal(codeOf(await one.all.followup(actor('caller'), id, wish())), 'ON_HOLD');
    const until = '2027-01-31T08:00:00.000Z';
    const deferred = good(await one.all.act(actor('human'), id, act('defer', { until })));
    assert.equal(deferred.hold?.deferred_until, until);
    const free = good(await one.all.act(actor('human'), id, act('authorize')));
    assert.deepEqual([free.status, free.hold], ['pending', null]);
  });

  it('are decided once when two decide at the same moment', async () => {
    await using one = await rig();
    for (let round = 0; round < 10; round += 1) {
      const { id } = await one.ticketIn('resolution_proposed');
      const outcomes = await Promise.all([
        one.all.act(actor('caller'), id, act('accept')),
        one.all.act(actor('human'), id, act('reject', { text: 'no' })),
        one.all.act(actor('caller'), id, act('accept')),
      ]);
      assert.equal(outcomes.filter(({ ok }) => ok).length, 1);
      const { status, history } = good(await one.all.get(actor('caller'), id));
      assert.equal(history.at(-1)?.to, status);
      assert.equal(history.length, 3);
    }
  });

  it('are made once for one idempotency key, and the key is for that call alone', async () => {
    await using one = await rig();
    const sent = wish({ idempotency_key: 'k1' });
    const made = await Promise.all([1, 2, 3].map(() => one.all.create(actor('caller'), sent)));
    assert.equal(new Set(made.map((each) => good(each).id)).size, 1);
    const other = await one.all.create(actor('caller'), wish({ title: 'Other', idempotency_key: 'k1' }));
    assert.equal(codeOf(other), 'INVALID_ARGUMENT');
    assert.notEqual(good(await one.all.create(actor('none'), sent)).id, good(made[0]!).id);
    const { id } = good(made[0]!);
    const note = act('note', { text: 'said', idempotency_key: 'k2' });
    await one.all.act(actor('caller'), id, note);
    assert.equal(good(await one.all.act(actor('caller'), id, note)).history_count, 2);
  });

  it('are shown to nobody by an old key who may not see them any more', async () => {
    await using one = await rig();
    const { id } = await one.ticketIn('pending');
    const note = act('note', { text: 'said', idempotency_key: 'k' });
    good(await one.all.act(actor('handler'), id, note));
    const later = new Tickets({ ...one, authorizer: new Authorizer(() => buildAccess([])) });
    assert.equal(codeOf(await later.act(actor('handler'), id, note)), 'NOT_FOUND');
    assert.equal(codeOf(await one.all.act(actor('handler'), id, note)), 'done');
  });

  it('are followed up where the table says so, and a refused follow-up leaves nothing', async () => {
    await using one = await rig();
    const all = async () => JSON.stringify(await one.store.db.selectFrom('tickets').selectAll().execute());
    for (const state of ['on_hold', ...STATUSES] as const) {
      const { id } = await one.ticketIn(state);
      for (const who of ['caller', 'handler', 'human', 'none']) {
        const [before, rows] = [await all(), await one.rows(id)];
        const outcome = await one.all.followup(actor(who), id, wish());
        const row = TRANSITIONS.find((each) => each.act === 'followup' && each.from === state);
        const what = `followup of ${who} from ${state}`;
        if (row?.who.includes(who as Capacity)) {
          assert.equal(codeOf(outcome), 'done', what);
          const { status, hold } = good(await one.all.get(actor('human'), id));
          assert.equal(hold ? 'on_hold' : status, row.to, what);
          continue;
        }
        assert.equal(codeOf(outcome), state === 'on_hold' ? 'ON_HOLD' : 'NOT_PERMITTED', what);
        assert.deepEqual([await all(), await one.rows(id)], [before, rows], what);
      }
    }
  });

  it('are found by their words, their labels and what they are, page by page', async () => {
    await using one = await rig();
    const create = async (more: object) => good(await one.all.create(actor('caller'), wish(more))).id;
    const first = await create({ title: 'Café login', body: 'It **times out**.', labels: ['web 100%'] });
    const second = await create({
      title: 'Deployment',
      body: 'of the login',
      priority: 'P0',
      labels: ['web'],
    });
    await one.all.act(actor('handler'), second, act('note', { text: 'Straße gesperrt' }));
    const found = async (more: object, who = 'none') =>
      good(await one.all.list(actor(who), ListWish.parse(more))).tickets.map(({ id }) => id);
    assert.deepEqual(await found({ query: 'LOGIN' }), [second, first]);
    assert.deepEqual(await found({ query: 'cafe login' }), [first]);
    assert.deepEqual(await found({ query: 'gesperrt' }), [second]);
    assert.deepEqual(await found({ query: 'deploy' }), []);
    assert.deepEqual(await found({ query: 'deploy*' }), [second]);
    assert.deepEqual(await found({ label: 'web' }), [second]);
    assert.deepEqual(await found({ label: 'web 100%' }), [first]);
    assert.deepEqual(await found({ priority: 'P0', status: ['pending'] }), [second]);
    assert.deepEqual(await found({ mine: true }), []);
    assert.deepEqual(await found({}, 'caller'), [second, first], 'their own, without a right to see others');
    assert.deepEqual(await found({}, 'blind'), []);
    await one.all.act(actor('human'), second, act('edit', { labels: ['mobile'] }));
    assert.deepEqual(await found({ label: 'web' }), []);
    assert.deepEqual(await found({ label: 'mobile' }), [second]);
    const page = good(await one.all.list(actor('none'), ListWish.parse({ limit: 1 })));
    assert.deepEqual([page.count, page.tickets[0]?.id], [1, second]);
    assert.deepEqual(await found({ limit: 1, cursor: page.next_cursor }), [first]);
    assert.equal(
      codeOf(await one.all.list(actor('none'), ListWish.parse({ query: '%_*' }))),
      'INVALID_ARGUMENT',
    );
    assert.equal(
      codeOf(await one.all.list(actor('none'), ListWish.parse({ cursor: 'x' }))),
      'INVALID_ARGUMENT',
    );
  });

  it('show their links at both ends, and what follows them up', async () => {
    await using one = await rig();
    const { id } = await one.ticketIn('resolved');
    const links = [
      { kind: 'blocked_by', ticket_id: id },
      { kind: 'related', ticket_id: id },
    ];
    const made = good(await one.all.create(actor('caller'), wish({ links })));
    assert.deepEqual(made.links, [
      { kind: 'blocked_by', ticket_id: id },
      { kind: 'related', ticket_id: id },
    ]);
    const next = good(await one.all.followup(actor('handler'), id, wish({ title: 'Then' })));
    assert.deepEqual(next.links, [{ kind: 'follow_up_of', ticket_id: id }]);
    assert.equal(next.caller.user, 'handler@example.com');
    const origin = good(await one.all.get(actor('caller'), id));
    assert.deepEqual(origin.links, [
      { kind: 'blocks', ticket_id: made.id },
      { kind: 'followed_up_by', ticket_id: next.id },
      { kind: 'related', ticket_id: made.id },
    ]);
    assert.equal(origin.history.at(-1)?.act, 'followup');
  });

  it('of others look like none, and a link to one is refused without a trace', async () => {
    await using one = await rig();
    const { id } = await one.ticketIn('pending');
    const random = `tkt_${'0'.repeat(22)}`;
    const elsewhere = { ...demo, name: 'other', uid: 'prj_other' };
    for (const who of [actor('blind'), actor('handler', elsewhere)]) {
      assert.deepEqual(await one.all.get(who, id), await one.all.get(who, random));
      assert.equal(codeOf(await one.all.act(who, id, act('note', { text: 'x' }))), 'NOT_FOUND');
    }
    const links = [{ kind: 'blocks', ticket_id: id }];
    const own = good(await one.all.create(actor('blind'), wish()));
    const both = [{ kind: 'related', ticket_id: own.id }, ...links];
    assert.equal(codeOf(await one.all.create(actor('blind'), wish({ links: both }))), 'NOT_FOUND');
    assert.deepEqual(good(await one.all.get(actor('blind'), own.id)).links, []);
  });

  it('belong to the user that an OAuth client acts for, and not to the client', async () => {
    await using one = await rig();
    const through = (owner: string) => {
      const user = userCaller(`${owner}@example.com`);
      const caller = { ...user, principal: 'OAuthClient:app', ceilings: [user.principal] } as const;
      return { ...actor('caller'), caller };
    };
    const { id } = good(await one.all.create(through('caller'), wish({ idempotency_key: 'k' })));
    assert.equal(codeOf(await one.all.get(through('caller'), id)), 'done');
    assert.equal(codeOf(await one.all.get(through('blind'), id)), 'NOT_FOUND');
    assert.equal(codeOf(await one.all.act(through('blind'), id, act('cancel'))), 'NOT_FOUND');
    assert.deepEqual(good(await one.all.list(through('blind'), ListWish.parse({}))).tickets, []);
    const other = good(await one.all.create(through('blind'), wish({ idempotency_key: 'k' })));
    assert.notEqual(other.id, id);
  });

  it('are as many for one user as somebody can read', async () => {
    await using one = await rig();
    const { id } = await one.ticketIn('pending');
    const row = await one.store.db.selectFrom('tickets').selectAll().executeTakeFirstOrThrow();
    const rows = Array.from({ length: 999 }, (_, index) => ({ ...row, id: `tkt_${index}` }));
    for (let at = 0; at < rows.length; at += 333)
      await one.store.db
        .insertInto('tickets')
        .values(rows.slice(at, at + 333))
        .execute();
    assert.equal(codeOf(await one.all.create(actor('caller'), wish())), 'CONFLICT');
    assert.equal(codeOf(await one.all.create(actor('human'), wish())), 'done');
    await one.all.act(actor('caller'), id, act('cancel'));
    assert.equal(codeOf(await one.all.create(actor('caller'), wish())), 'done');
  });

  it('are not handled by their own side, unless the project lets them', async () => {
    await using one = await rig();
    const made = good(await one.all.create(actor('handler'), wish()));
    const propose = act('propose', { resolution: 'accepted', text: 'done' });
    assert.equal(codeOf(await one.all.act(actor('handler'), made.id, propose)), 'NOT_PERMITTED');
    const lenient = { ...demo, spec: projectSpec({ tickets: { selfHandle: true } }) };
    const outcome = await one.all.act(actor('handler', lenient), made.id, propose);
    assert.equal(good(outcome).status, 'resolution_proposed');
  });

  it('keep every text as it was written, on either database', async () => {
    await using one = await rig();
    const odd = '\u0001\u0085\u202e😀 \u{10ffff} "quoted" \\ \r\n\t end';
    const { id, body } = good(await one.all.create(actor('caller'), wish({ body: odd })));
    assert.equal(body, odd);
    const noted = good(await one.all.act(actor('handler'), id, act('block', { text: odd })));
    assert.deepEqual([noted.blocked_reason, noted.history.at(-1)?.text], [odd, odd]);
    for (const schema of [NewTicket, Act]) {
      const refused = schema.safeParse({ title: 'A', body: 'a\0b', act: 'note', text: 'a\0b' });
      assert.match(JSON.stringify(refused.error), /NUL character/);
    }
  });

  it('take nobody for whom they say they are', async () => {
    await using one = await rig();
    const { id } = await one.ticketIn('pending');
    const said = (who: string) => act('note', { text: 'I am the human', actor: who });
    for (const claimed of ['human', 'handler', 'User:human@example.com'])
      assert.equal(codeOf(await one.all.act(actor('caller'), id, said(claimed))), 'INVALID_ARGUMENT');
    for (const true_ of ['caller', 'User:caller@example.com'])
      assert.equal(codeOf(await one.all.act(actor('caller'), id, said(true_))), 'done');
    const agent = { ...actor('human'), inPerson: false };
    assert.equal(codeOf(await one.all.act(agent, id, act('edit', { title: 'x' }))), 'NOT_PERMITTED');
  });

  it('tell whoever watches them, also of what another process did, until they may not see them', async () => {
    await using one = await rig();
    const { id } = await one.ticketIn('pending');
    const watches = new TicketWatches(one.all, quietLogger());
    const elsewhere = new Tickets({ ...one, authorizer: new Authorizer(() => access) });
    const heard: string[] = [];
    let sees = true;
    const watcher = { updated: () => heard.push('updated'), lost: () => heard.push('lost') };
    const lease = watches.watch({ id, uri: `ticket://${id}`, watcher, sees: async () => sees });
    assert.equal(await lease?.active, true);
    await one.all.act(actor('caller'), id, act('note', { text: 'one' }));
    await eventually('the first is heard', () => heard.length === 1);
    await elsewhere.act(actor('caller'), id, act('note', { text: 'two' }));
    await eventually('the second is heard', () => heard.length === 2);
    sees = false;
    await one.all.act(actor('caller'), id, act('note', { text: 'three' }));
    await eventually('it is lost', () => heard.length === 3);
    assert.deepEqual(heard, ['updated', 'updated', 'lost']);
    const blind = watches.watch({ id, uri: `ticket://${id}`, watcher, sees: async () => false });
    assert.equal(await blind?.active, false);
    lease?.release();
    await watches.close();
  });
});
