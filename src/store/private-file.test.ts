import assert from 'node:assert/strict';
import { chmod, lstat, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { temporaryFolder } from '../../test/support/databases.ts';
import { readPrivateFile, removeTemporaryFiles, writePrivateFile } from './private-file.ts';

const mode = async (file: string) => (await lstat(file)).mode & 0o777;

describe('private files', () => {
  it('are 0600 under any umask, replaced as a whole, with nothing left beside them', async () => {
    const folder = await temporaryFolder();
    const file = path.join(folder, 'x');
    for (const umask of [0o000, 0o022, 0o777]) {
      const before = process.umask(umask);
      try {
        await writePrivateFile(file, `under ${umask}`);
      } finally {
        process.umask(before);
      }
      assert.equal(await mode(file), 0o600);
      assert.deepEqual(await readPrivateFile(file), { content: `under ${umask}`, openToOthers: false });
    }
    assert.deepEqual(await readdir(folder), ['x']);
  });

  it('replace a symbolic link instead of writing through it, and are not read through one', async () => {
    const folder = await temporaryFolder();
    const [target, link] = [path.join(folder, 'target'), path.join(folder, 'link')];
    await writeFile(target, 'untouched');
    await symlink(target, link);
    await assert.rejects(readPrivateFile(link), /is a symbolic link/);
    await writePrivateFile(link, 'mine');
    assert.equal(await readFile(target, 'utf8'), 'untouched');
    assert.equal((await lstat(link)).isSymbolicLink(), false);
  });

  it('say whether others can read them, and refuse what is no small plain file', async () => {
    const folder = await temporaryFolder();
    const file = path.join(folder, 'x');
    assert.equal(await readPrivateFile(file), undefined);
    await writePrivateFile(file, 'abcdef');
    await chmod(file, 0o640);
    assert.equal((await readPrivateFile(file))?.openToOthers, true);
    await assert.rejects(readPrivateFile(file, 5), /6 bytes, at most 5/);
    await mkdir(path.join(folder, 'd'));
    await assert.rejects(readPrivateFile(path.join(folder, 'd')), /not a plain file/);
  });

  it('leave nothing when writing fails, and what a kill leaves is cleared', async () => {
    const folder = await temporaryFolder();
    await mkdir(path.join(folder, 'taken'));
    await assert.rejects(writePrivateFile(path.join(folder, 'taken'), 'x'));
    assert.deepEqual(await readdir(folder), ['taken']);
    await writeFile(path.join(folder, '.castellan-0123456789abcdef.tmp'), 'half');
    await writeFile(path.join(folder, '.castellan-mine.tmp'), 'kept');
    await removeTemporaryFiles(folder);
    assert.deepEqual((await readdir(folder)).sort(), ['.castellan-mine.tmp', 'taken']);
  });
});
