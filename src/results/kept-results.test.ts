import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, describe, it } from 'node:test';
import { newId } from '../base/ids.ts';
import { createLogger } from '../base/logger.ts';
import { KEPT_BOUNDS, type KeptBounds, type KeptResult, KeptResults } from './kept-results.ts';

const folders: string[] = [];
const opened: KeptResults[] = [];
after(async () => {
  for (const kept of opened) await kept.close();
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

async function open(more: { bounds?: Partial<KeptBounds>; cacheDir?: string; id?: string } = {}) {
  const cacheDir = more.cacheDir ?? (await mkdtemp(path.join(tmpdir(), 'castellan-results-')));
  folders.push(cacheDir);
  const lines: string[] = [];
  const logger = createLogger({ destination: { write: (line) => void lines.push(line) } });
  const id = more.id ?? newId('ins');
  const kept = new KeptResults(cacheDir, id, logger, { ...KEPT_BOUNDS, ...more.bounds });
  opened.push(kept);
  await kept.open();
  return { kept, cacheDir, folder: path.join(cacheDir, 'results', id), id, lines };
}

const about = (owner: string, sections: string[]) => ({
  owner,
  tool: 's__t',
  sections,
  bytes: sections.join('').length,
});
async function put(kept: KeptResults, owner: string, ...sections: string[]): Promise<KeptResult> {
  const found = await kept.keep(about(owner, sections));
  assert.ok(found);
  return found;
}
const namesIn = (folder: string) => readdir(folder).then((names) => names.sort());

describe('kept results', () => {
  it('are read in sections and as a whole, by their owner alone', async () => {
    const { kept } = await open();
    const found = await put(kept, 'ann', 'one, ', 'zwei: ü😀, ', 'three');
    assert.equal(await kept.read(found, 2), 'zwei: ü😀, ');
    assert.equal(await kept.read(found, 1), 'one, ');
    assert.equal(await kept.read(found), 'one, zwei: ü😀, three');
    assert.equal(kept.find('ann', found.id)?.sections, 3);
    assert.equal(kept.find('bob', found.id), undefined);
    for (const id of ['', '..', '../../etc/passwd', `${found.id}/`, `./${found.id}`, newId('res')])
      assert.equal(kept.find('ann', id), undefined, id);
  });

  it('lie on the disk sealed and closed to others', async () => {
    const { kept, folder } = await open();
    const found = await put(kept, 'ann', 'a text that nobody else reads');
    const file = path.join(folder, found.id);
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    assert.equal((await stat(folder)).mode & 0o777, 0o700);
    assert.doesNotMatch(await readFile(file, 'utf8'), /nobody else/);
  });

  it('are gone when their file is gone or is another one', async () => {
    const { kept, folder } = await open();
    const [one, two] = [await put(kept, 'ann', 'one'), await put(kept, 'ann', 'two')];
    await writeFile(path.join(folder, one.id), await readFile(path.join(folder, two.id)));
    assert.equal(await kept.read(one, 1), undefined);
    assert.equal(kept.find('ann', one.id), undefined);
    await rm(path.dirname(folder), { recursive: true });
    assert.equal(await kept.read(two, 1), undefined);
    // The folder may be removed at any time.
    const three = await put(kept, 'ann', 'three');
    assert.equal(await kept.read(three, 1), 'three');
  });

  it('end with their time', async () => {
    const { kept, folder } = await open({ bounds: { lifetimeMs: 0 } });
    const found = await put(kept, 'ann', 'text');
    assert.equal(kept.find('ann', found.id), undefined);
    await put(kept, 'ann', 'another');
    await kept.sweep();
    assert.deepEqual(await namesIn(folder), []);
  });

  it('make room for newer ones: of their owner first, then of all', async () => {
    const size = 40;
    const { kept, folder } = await open({ bounds: { perOwner: 2, perOwnerBytes: 1_000, totalBytes: 1_000 } });
    const one = await put(kept, 'ann', 'x');
    const bobs = await put(kept, 'bob', 'x'.repeat(size));
    const two = await put(kept, 'ann', 'y');
    const three = await put(kept, 'ann', 'z');
    assert.deepEqual(
      [one, two, three, bobs].map(
        ({ id }, index) => kept.find(index === 3 ? 'bob' : 'ann', id) !== undefined,
      ),
      [false, true, true, true],
    );
    assert.equal(
      await kept.keep(about('ann', ['x'.repeat(2_000)])),
      undefined,
      'more than an owner may have',
    );
    for (let index = 0; index < 12; index += 1) await put(kept, `owner ${index}`, 'x'.repeat(100));
    assert.equal(kept.find('bob', bobs.id), undefined);
    await kept.sweep();
    let bytes = 0;
    for (const name of await namesIn(folder)) bytes += (await stat(path.join(folder, name))).size;
    assert.ok(bytes > 0 && bytes <= 1_000, String(bytes));
  });

  it('hold their bounds when many come at once', async () => {
    const { kept, folder } = await open({ bounds: { perOwner: 3 } });
    await Promise.all(Array.from({ length: 50 }, (_, index) => kept.keep(about('ann', [`${index}`]))));
    await kept.sweep();
    assert.ok((await namesIn(folder)).length <= 3);
  });

  it('are not kept where the disk takes nothing, which is told once', async () => {
    const { kept, cacheDir, lines } = await open();
    await rm(path.join(cacheDir, 'results'), { recursive: true, force: true });
    await writeFile(path.join(cacheDir, 'results'), 'a file in the way');
    for (let index = 0; index < 3; index += 1) assert.equal(await kept.keep(about('ann', ['x'])), undefined);
    assert.equal(lines.filter((line) => line.includes('cannot be kept')).length, 1);
    await rm(path.join(cacheDir, 'results'));
    await put(kept, 'ann', 'x');
  });

  it('of an earlier process are removed at the start, and of others only when they are abandoned', async () => {
    const { kept, cacheDir, folder, id } = await open();
    await put(kept, 'ann', 'left by a kill');
    const young = path.join(cacheDir, 'results', newId('ins'));
    const old = path.join(cacheDir, 'results', newId('ins'));
    const foreign = path.join(cacheDir, 'results', 'not-ours');
    for (const other of [young, old, foreign]) {
      await mkdir(other);
      await writeFile(path.join(other, 'file'), '');
    }
    const longAgo = new Date(Date.now() - 48 * 3_600_000);
    for (const other of [old, foreign]) await utimes(other, longAgo, longAgo);
    await open({ cacheDir, id });
    assert.deepEqual(await namesIn(folder), []);
    assert.deepEqual(
      [young, old, foreign].map((other) => existsSync(other)),
      [true, false, true],
    );
  });

  it('leave nothing behind at the end', async () => {
    const { kept, folder } = await open();
    await put(kept, 'ann', 'x');
    await kept.close();
    assert.equal(existsSync(folder), false);
  });
});
