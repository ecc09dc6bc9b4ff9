import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { temporaryFolder } from '../../test/support/databases.ts';
import { masterKeyFromEnvironment, newMasterKeyText, parseMasterKey } from './master-key.ts';

const refusedWith = (message: RegExp) => (error: Error & { kind?: string }) => {
  assert.equal(error.name, 'Refusal');
  assert.equal(error.kind, 'invalid');
  assert.match(error.message, message);
  return true;
};

describe('master key', () => {
  it('reads hex, base64 and base64url of 32 bytes or more', () => {
    for (const size of [32, 48, 64]) {
      const bytes = randomBytes(size);
      for (const encoding of ['hex', 'base64', 'base64url'] as const) {
        assert.deepEqual(parseMasterKey(` ${bytes.toString(encoding)}\n`, 'X').bytes, bytes);
      }
    }
  });

  it('never refuses a random key', () => {
    for (let round = 0; round < 2_000; round += 1) parseMasterKey(newMasterKeyText(), 'X');
  });

  it('refuses placeholders, patterns and short keys, and says how to make one', () => {
    const bad: [string, RegExp][] = [
      ['', /empty/],
      ['   ', /empty/],
      ['changeme', /placeholder/],
      ['change-me-change-me-change-me-change-me-change-me', /placeholder/],
      ['your_master_key_here_your_master_key_here_1234', /placeholder/],
      ['0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', /placeholder/],
      ['A'.repeat(44), /placeholder/],
      ['abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ', /placeholder/],
      [randomBytes(31).toString('hex'), /31 bytes, at least 32/],
      [randomBytes(16).toString('base64'), /16 bytes, at least 32/],
      ['not a key at all!', /neither hex nor base64/],
      ['00000000000000000000000000000001'.repeat(2), /placeholder|not random/],
    ];
    for (const [text, message] of bad) {
      assert.throws(
        () => parseMasterKey(text, 'CASTELLAN_MASTER_KEY'),
        refusedWith(message),
        JSON.stringify(text),
      );
      assert.throws(
        () => parseMasterKey(text, 'CASTELLAN_MASTER_KEY'),
        refusedWith(/openssl rand -base64 32/),
      );
    }
  });

  it('repeats the key in no message', () => {
    const short = randomBytes(20).toString('base64url');
    assert.throws(
      () => parseMasterKey(short, 'X'),
      (error: Error) => !error.message.includes(short),
    );
  });

  it('comes from the variable or the file, never both', async () => {
    const text = newMasterKeyText();
    const file = path.join(await temporaryFolder(), 'key');
    await writeFile(file, `${text}\n`);
    const bytes = Buffer.from(text, 'base64url');
    assert.equal(await masterKeyFromEnvironment({}), undefined);
    assert.deepEqual(await masterKeyFromEnvironment({ CASTELLAN_MASTER_KEY: text }), { bytes });
    assert.deepEqual(await masterKeyFromEnvironment({ CASTELLAN_MASTER_KEY_FILE: file }), { bytes });
    await assert.rejects(
      masterKeyFromEnvironment({ CASTELLAN_MASTER_KEY: text, CASTELLAN_MASTER_KEY_FILE: file }),
      refusedWith(/both set/),
    );
    await assert.rejects(
      masterKeyFromEnvironment({ CASTELLAN_MASTER_KEY_FILE: `${file}-missing` }),
      refusedWith(/CASTELLAN_MASTER_KEY_FILE cannot be read/),
    );
    await assert.rejects(masterKeyFromEnvironment({ CASTELLAN_MASTER_KEY: '' }), refusedWith(/empty/));
  });
});
