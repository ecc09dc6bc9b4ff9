import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { commit, git } from './review-rig.ts';

/**
 * A repository of `count` TypeScript files in `folder`: file N defines `valueN`, mentions it in a comment and uses
 * `valueN-1`; every hundredth speaks of a `landmark`. Two commits, packed like a clone.
 */
export function generateRepository(folder: string, count: number): void {
  mkdirSync(folder, { recursive: true });
  git(folder, 'init', '--quiet', '--initial-branch=main');
  git(folder, 'config', 'gc.auto', '0');
  for (let index = 0; index < count; index += 1) writeGenerated(folder, index);
  commit(folder, 'All files');
  for (let index = 0; index < count; index += 500)
    writeFileSync(path.join(folder, fileName(index)), `${generatedText(index)}// changed\n`);
  commit(folder, 'Change some');
  git(folder, 'gc', '--quiet');
}

export const fileName = (index: number): string => `pkg${index % 100}/mod${index % 7}/file${index}.ts`;

function writeGenerated(folder: string, index: number): void {
  const file = path.join(folder, fileName(index));
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, generatedText(index));
}

function generatedText(index: number): string {
  const before = Math.max(0, index - 1);
  return [
    `import { value${before} } from './elsewhere.ts';`,
    `// value${index} is made here`,
    `export function value${index}(x: number): number {`,
    `  return value${before}(x) + ${index};`,
    '}',
    ...(index % 100 === 0 ? ["export const landmark = 'landmark';"] : []),
    ...Array.from({ length: 20 }, (_, line) => `export const filler${index}_${line} = ${line};`),
    '',
  ].join('\n');
}
