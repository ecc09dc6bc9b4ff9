import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { deriveKey, keyCheckValue, keyIdOf, Sealer } from './seal.ts';

const key = () => ({ bytes: randomBytes(32) });

describe('sealing', () => {
  it('opens what it sealed, for the same purpose and context', () => {
    const sealer = new Sealer(key());
    fc.assert(
      fc.property(fc.string(), fc.string(), (text, context) => {
        assert.deepEqual(sealer.open('session', sealer.seal('session', text, context), context), {
          ok: true,
          value: text,
        });
      }),
    );
  });

  it('never seals one text the same way twice', () => {
    const sealer = new Sealer(key());
    assert.notEqual(sealer.seal('a', 'x'), sealer.seal('a', 'x'));
  });

  it('refuses another purpose, another context and every altered character', () => {
    const sealer = new Sealer(key());
    const sealed = sealer.seal('session', 'hello', 'alice');
    assert.deepEqual(sealer.open('cursor', sealed, 'alice'), { ok: false, error: 'forged' });
    assert.deepEqual(sealer.open('session', sealed, 'bob'), { ok: false, error: 'forged' });
    assert.deepEqual(sealer.open('session', sealed), { ok: false, error: 'forged' });
    for (let index = 0; index < sealed.length; index += 1) {
      const other = sealed[index] === 'A' ? 'B' : 'A';
      const altered = sealed.slice(0, index) + other + sealed.slice(index + 1);
      assert.equal(sealer.open('session', altered, 'alice').ok, false, `character ${index}`);
    }
  });

  it('says malformed for what it never made', () => {
    const sealer = new Sealer(key());
    const sealed = sealer.seal('a', 'text');
    for (const text of ['', 'x', '%%%', sealed.slice(0, 40), `${sealed}=`, `${sealed}\n`, 'A'.repeat(100)]) {
      assert.deepEqual(sealer.open('a', text), { ok: false, error: 'malformed' }, JSON.stringify(text));
    }
  });

  it('opens under an older key of the ring and names an unknown one', () => {
    const [old, next] = [key(), key()];
    const sealer = new Sealer(old);
    assert.equal(sealer.keyId, keyIdOf(old));
    const sealed = sealer.seal('a', 'kept');
    sealer.use(next, [old]);
    assert.equal(sealer.keyId, keyIdOf(next));
    assert.deepEqual(sealer.open('a', sealed), { ok: true, value: 'kept' });
    const rotated = sealer.seal('a', 'new');
    assert.deepEqual(new Sealer(old).open('a', rotated), { ok: false, error: 'unknown_key' });
    sealer.use(next, []);
    assert.deepEqual(sealer.open('a', sealed), { ok: false, error: 'unknown_key' });
    assert.deepEqual(sealer.open('a', rotated), { ok: true, value: 'new' });
  });

  it('derives a key for each purpose, and a check value that is none of them', () => {
    const master = key();
    assert.notDeepEqual(deriveKey(master, 'a'), deriveKey(master, 'b'));
    assert.equal(keyCheckValue(master), keyCheckValue({ bytes: Buffer.from(master.bytes) }));
    assert.notEqual(keyCheckValue(master), keyCheckValue(key()));
  });
});
