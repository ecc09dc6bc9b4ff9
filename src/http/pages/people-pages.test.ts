import assert from 'node:assert/strict';
import { it } from 'node:test';
import { onEachDatabase, openAudit } from '../../../test/support/databases.ts';
import { openIdentity } from '../../../test/support/identity.ts';
import { CountedEvents } from '../../audit/counted-events.ts';
import { Denials } from '../../audit/denials.ts';
import { BrowserSessions } from '../../identity/browser-sessions.ts';
import { Passwords } from '../../identity/passwords.ts';
import { ClientAddresses } from '../../limits/client-address.ts';
import { RequestAddresses } from '../request-addresses.ts';
import { createPeoplePages } from './people-pages.ts';

onEachDatabase('the pages of people', (make) => {
  it('say that they do not work while the database is away, and nothing about why', async () => {
    const database = await make();
    const opened = await database.open();
    const { store } = opened;
    const identity = await openIdentity(opened, database.logger);
    const { authorizer, resources } = identity;
    const audit = await openAudit(opened);
    const counted = new CountedEvents(audit);
    const sessions = new BrowserSessions({ store, audit, authorizer });
    const passwords = new Passwords({ store, audit, authorizer });
    const user = authorizer.rights().access.users.get('admin')!;
    const proof = { method: 'password', at: Date.now() } as const;
    const { cookie } = await sessions.open(user, proof, { address: '192.0.2.1', agent: 'test' });
    const pages = createPeoplePages({
      approvals: undefined as never,
      ...{ passwords, sessions, audit, store, resources },
      addresses: new RequestAddresses(new ClientAddresses([])),
      denials: new Denials(counted),
      logger: database.logger,
      oauth: {
        server: () => Promise.reject(new Error('not here')),
        grants: {} as never,
        issuers: {} as never,
      },
      logins: undefined as never,
      authorizer,
      publicUrl: undefined,
      provider: undefined,
      open: true,
    });
    counted.close();
    await audit.close();
    await identity.close();
    await opened.close();
    const env = { incoming: { socket: { remoteAddress: '192.0.2.1' }, headers: {} } };
    for (const at of ['/account', '/sign-in', '/invite/x', '/device']) {
      const request = new Request(`http://localhost${at}`, {
        headers: { cookie: `castellan-session=${cookie}` },
      });
      const answer = await pages.fetch(request, env);
      assert.ok([500, 503].includes(answer.status), `${at}: ${answer.status}`);
      assert.match(answer.headers.get('content-security-policy') ?? '', /default-src 'none'/);
      assert.equal(answer.headers.get('referrer-policy'), 'no-referrer');
      assert.doesNotMatch(await answer.text(), /select|sqlite|driver|destroyed|\bat \w+ \(/i);
    }
    await database.dispose();
  });
});
