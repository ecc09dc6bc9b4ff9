import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFile, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '../support/databases.ts';
import { newPerson, Person } from '../support/person.ts';
import { startCastellan, type TestCastellan } from '../support/running-castellan.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const ALICE = 'alice@example.com';

describe('the program of docs/clients.md, as it is written', () => {
  let castellan: TestCastellan;
  let programs: string[];
  before(async () => {
    castellan = await startCastellan();
    await newPerson(castellan, ALICE);
    const guide = await readFile(path.join(ROOT, 'docs/clients.md'), 'utf8');
    const [program = '', imports = '', finish = ''] = [...guide.matchAll(/^```js\n(.*?)^```$/gms)].map(
      ([, text]) => text,
    );
    const older = program
      .replace(/^import .*'@modelcontextprotocol\/client';\n/m, imports)
      .replace(/^ *await first\.finishAuth\(.*\n/m, finish);
    programs = [program, older];
  });
  after(() => castellan[Symbol.asyncDispose]());

  for (const [index, name] of ['SDK 2.4', 'SDK 1.32'].entries()) {
    test(name, async () => {
      const folder = await temporaryFolder();
      await symlink(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'));
      const file = path.join(folder, 'sign-in.mjs');
      await writeFile(file, programs[index]!);
      assert.equal(/modelcontextprotocol\/sdk/.test(programs[index]!), name === 'SDK 1.32');
      const child = spawn(process.execPath, [file, `${castellan.url}/projects/demo/mcp`]);
      let [stdout, stderr] = ['', ''];
      let decided: Promise<unknown> | undefined;
      child.stdout.on('data', (chunk) => {
        stdout += chunk;
      });
      child.stderr.on('data', (chunk) => {
        stderr += chunk;
        const [, page] = /^Sign in at (\S+)\n/m.exec(stderr) ?? [];
        if (page === undefined || decided) return;
        decided = new Person(castellan.url, ALICE).decide(page).then(fetch);
        decided.catch(() => child.kill());
      });
      const code = await new Promise((resolve) => child.on('close', resolve));
      await decided;
      assert.deepEqual([code, stdout], [0, 'Echo: hello\n'], stderr);
    });
  }
});
