import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { OAUTH_CHECKLIST } from './oauth-checklist.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const CITED = /(?:it|test)\(\s*[`'"]authorization server checklist ((?:\d+(?:, | and )?)+):/g;

test('every line of the checklist is cited by the title of a test, and none that is not there', () => {
  const files = ['test/e2e', 'test/faults', 'src/oauth', 'src/http'].flatMap((folder) =>
    readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.test.ts'))
      .map((name) => path.join(ROOT, folder, name)),
  );
  const cited = new Set(
    files
      .flatMap((file) => [...readFileSync(file, 'utf8').matchAll(CITED)])
      .flatMap((match) => match[1]!.match(/\d+/g)!),
  );
  const lines = Object.keys(OAUTH_CHECKLIST);
  assert.deepEqual(
    [...cited].filter((number) => !lines.includes(number)),
    [],
    'no such line',
  );
  assert.deepEqual(
    lines.filter((number) => !cited.has(number)),
    [],
    'no test cites these',
  );
});
