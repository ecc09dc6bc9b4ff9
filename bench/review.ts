/**
 * `node bench/review.ts [--files 20000] [--rounds 40]`: the review tools on a generated repository. Their answers are
 * compared with those of `git` and `grep`; then each is called one after the other, and the times go to stdout. Exit
 * code 1 when the 95th percentile of all calls is over 200 ms.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { checkGenerated } from '../test/support/generated-answers.ts';
import { fileName, generateRepository } from '../test/support/generated-repository.ts';
import { reviewOf } from '../test/support/review-rig.ts';

const LIMIT_MS = 200;
const { values } = parseArgs({
  options: { files: { type: 'string', default: '20000' }, rounds: { type: 'string', default: '40' } },
});
const files = Number(values.files);
const rounds = Number(values.rounds);

/** The call of each tool in a round, over another file each time. */
const callsOf = (round: number): [string, object][] => {
  const index = 1 + ((round * 487) % (files - 2));
  const file = fileName(index);
  return [
    ['browse_codebase', { repository: 'generated', path: path.dirname(path.dirname(file)) }],
    ['list_code_files', { path: path.dirname(file) }],
    ['outline', { path: file }],
    ['read_code', { path: file }],
    ['search_code', { pattern: `value${index}(` }],
    ['find_definition', { name: `value${index}` }],
    ['find_references', { name: `value${index}` }],
    ['git_log', { limit: 10 }],
    ['git_file_history', { path: file }],
    ['git_show_commit', { commit: 'HEAD', limit: 5 }],
    ['git_diff', { from: 'HEAD~1', to: 'HEAD', limit: 5 }],
  ];
};

const percentile = (times: readonly number[], part: number): number =>
  times.toSorted((a, b) => a - b)[Math.min(times.length - 1, Math.floor(times.length * part))]!;

const folder = mkdtempSync(path.join(tmpdir(), 'castellan-review-'));
try {
  process.stderr.write(`makes ${files} files\n`);
  const repository = path.join(folder, 'generated');
  generateRepository(repository, files);
  const review = reviewOf({ generated: { path: repository } });
  process.stderr.write('compares with git and grep\n');
  await checkGenerated(repository, files, review);
  const times = new Map<string, number[]>();
  for (let round = 0; round < rounds; round += 1) {
    for (const [tool, args] of callsOf(round)) {
      const begin = performance.now();
      await review.get(tool, args);
      times.set(tool, [...(times.get(tool) ?? []), performance.now() - begin]);
    }
  }
  console.log(`${files} files, ${rounds} calls of each tool, ms\n\n| tool | p50 | p95 |\n|---|---|---|`);
  const row = (name: string, all: readonly number[]) =>
    `| ${name} | ${percentile(all, 0.5).toFixed(0)} | ${percentile(all, 0.95).toFixed(0)} |`;
  for (const [tool, all] of times) console.log(row(tool, all));
  const every = [...times.values()].flat();
  console.log(row('all', every));
  process.exitCode = percentile(every, 0.95) > LIMIT_MS ? 1 : 0;
} finally {
  rmSync(folder, { recursive: true });
}
