import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { AddressLimiter } from './address-limiter.ts';
import { CallLimiter, type LimitedBy } from './call-limiter.ts';
import { ClientAddresses } from './client-address.ts';
import { type Rate, taken } from './rate.ts';

describe('a rate', () => {
  it('allows no more than its calls at once and than twice that in its time', () => {
    const rates = fc.record({
      calls: fc.integer({ min: 1, max: 20 }),
      perMs: fc.integer({ min: 1, max: 10_000 }),
    });
    const gaps = fc.array(fc.integer({ min: 0, max: 2_000 }), { maxLength: 200 });
    fc.assert(
      fc.property(rates, gaps, (rate: Rate, waits) => {
        let state = 0;
        let now = 1_000_000;
        const allowed: number[] = [];
        for (const wait of waits) {
          now += wait;
          const one = taken(state, rate, now);
          if (!one.ok) {
            assert.ok(one.retryAfterMs > 0);
            assert.ok(taken(state, rate, now + one.retryAfterMs).ok, 'the wait that it names is long enough');
            continue;
          }
          state = one.state;
          allowed.push(now);
        }
        for (const from of allowed) {
          assert.ok(allowed.filter((at) => at === from).length <= rate.calls);
          assert.ok(allowed.filter((at) => at >= from && at < from + rate.perMs).length <= 2 * rate.calls);
        }
      }),
    );
  });
});

describe('the limits of calls', () => {
  const by = (subject: LimitedBy['subject'], key: string, limit: Partial<LimitedBy['limit']>): LimitedBy => ({
    subject,
    key,
    limit: { rate: undefined, concurrent: undefined, ...limit },
  });

  it('count each token alone, and the user with all tokens together', () => {
    let now = 0;
    const limiter = new CallLimiter(() => now);
    const user = by('user', 'u', { rate: { calls: 3, perMs: 3_000 } });
    const token = (key: string) => [by('token', key, { rate: { calls: 2, perMs: 2_000 } }), user];
    assert.ok(limiter.take(token('a')).ok);
    assert.ok(limiter.take(token('a')).ok);
    const third = { ok: false, subject: 'token', what: 'rate', retryAfterMs: 1_000 };
    assert.deepEqual(limiter.take(token('a')), third);
    // What was refused has cost the user nothing.
    assert.ok(limiter.take(token('b')).ok);
    // A new token does not help: the user has used all three.
    assert.deepEqual(limiter.take(token('c')), { ...third, subject: 'user' });
    now = 1_000;
    assert.ok(limiter.take(token('c')).ok);
  });

  it('count what runs at once, and give it back once', () => {
    const limiter = new CallLimiter(() => 0);
    const limits = [by('project', 'p', { concurrent: 2 })];
    const first = limiter.take(limits);
    const second = limiter.take(limits);
    assert.ok(first.ok && second.ok);
    const refused = limiter.take(limits);
    assert.ok(!refused.ok && refused.what === 'concurrent' && refused.retryAfterMs > 0);
    first.release();
    first.release();
    assert.ok(limiter.take(limits).ok);
    assert.ok(!limiter.take(limits).ok);
  });

  it('keep a bounded table', () => {
    let now = 0;
    const limiter = new CallLimiter(() => now);
    for (let index = 0; index < 250_000; index += 1) {
      now += 1;
      limiter.take([by('token', String(index), { rate: { calls: 1, perMs: 1_000_000 } })]);
    }
    assert.ok(limiter.size <= 100_000, String(limiter.size));
  });
});

describe('wrong credentials', () => {
  it('are refused from an address that has presented many, and from no other', () => {
    let now = 0;
    const limiter = new AddressLimiter(() => now);
    limiter.right('good');
    let refused = 0;
    for (let index = 0; index < 10_000; index += 1) {
      if (limiter.wait('192.0.2.1', () => `guess ${index}`) !== undefined) refused += 1;
      else limiter.wrong('192.0.2.1');
    }
    assert.equal(refused, 9_900);
    assert.equal(
      limiter.wait('192.0.2.2', () => 'guess'),
      undefined,
    );
    assert.equal(
      limiter.wait('192.0.2.1', () => 'good'),
      undefined,
    );
    assert.equal(
      limiter.wait('192.0.2.1', () => 'guess'),
      1_000,
    );
    now += 1_000;
    assert.equal(
      limiter.wait('192.0.2.1', () => 'guess'),
      undefined,
    );
  });
});

describe('the address of a client', () => {
  const behind = new ClientAddresses(['10.0.0.0/8', 'fd00::/8']);
  const cases: [string, string | undefined, string | undefined, string][] = [
    ['a direct connection', '192.0.2.7', undefined, '192.0.2.7'],
    ['a claim of its own counts for nothing', '192.0.2.7', '198.51.100.1', '192.0.2.7'],
    ['a proxy names the client', '10.1.2.3', '198.51.100.1', '198.51.100.1'],
    ['only the first untrusted hop', '10.1.2.3', '203.0.113.9, 198.51.100.1, 10.9.9.9', '198.51.100.1'],
    ['nothing but proxies', '10.1.2.3', '10.2.2.2, 10.9.9.9', '10.2.2.2'],
    ['garbage ends the chain', '10.1.2.3', '198.51.100.1, evil', '10.1.2.3'],
    ['an empty header', '10.1.2.3', '', '10.1.2.3'],
    ['IPv4 in IPv6', '::ffff:10.1.2.3', '::ffff:198.51.100.1', '198.51.100.1'],
    ['a port', '10.1.2.3', '198.51.100.1:4711', '198.51.100.1'],
    ['IPv6 by its /64', 'fd00::1', '[2001:db8:1:2:3:4:5:6]:99', '2001:db8:1:2::/64'],
    ['IPv6 direct', '2001:db8:1:2:ffff::1', undefined, '2001:db8:1:2::/64'],
    ['no address at all', undefined, undefined, 'unknown'],
  ];
  for (const [what, connection, forwarded, expected] of cases) {
    it(what, () => assert.equal(behind.network(connection, forwarded), expected));
  }

  it('is told whole, too', () => {
    assert.equal(behind.exact('10.1.2.3', '198.51.100.1'), '198.51.100.1');
    assert.equal(behind.exact('fd00::1', '2001:db8:1:2:3:4:5:6'), '2001:db8:1:2:3:4:5:6');
    assert.equal(behind.exact('::ffff:127.0.0.1', undefined), '127.0.0.1');
    assert.equal(behind.exact(undefined, undefined), 'unknown');
  });

  it('is that of the connection where no proxy is trusted', () => {
    assert.equal(new ClientAddresses([]).network('10.1.2.3', '198.51.100.1'), '10.1.2.3');
  });
});
