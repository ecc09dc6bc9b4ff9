import { isAbsolute, parse, resolve } from 'node:path';
import { z } from 'zod';
import { keysOnly, type Problem, problemsOf, textThat } from './problems.ts';
import type { RepositorySpec } from './spec.ts';

const MAX_GLOBS = 1000;

/** The fields of `Repository.spec`; in `written` mode a path that still holds `${…}` passes. */
function repositoryFields(mode: 'written' | 'resolved') {
  return keysOnly({
    path: textThat((path) => (mode === 'written' && path.includes('${') ? undefined : pathFault(path))),
    refs: z.array(textThat(globFault)).min(1).max(MAX_GLOBS).optional(),
    ignore: z.array(textThat(globFault)).max(MAX_GLOBS).optional(),
    description: z.string().max(1000).optional(),
  });
}

export const REPOSITORY = repositoryFields('written');
const RESOLVED = repositoryFields('resolved');

/** What is wrong with `spec` as it stands in a file or a request; `${…}` may still be in it. */
export function repositoryProblems(spec: unknown): Problem[] {
  return problemsOf(REPOSITORY, spec, ['spec']);
}

/** What is wrong with `spec` once every `${…}` in it is replaced. */
export function resolvedRepositoryProblems(spec: unknown): Problem[] {
  return problemsOf(RESOLVED, spec, ['spec']);
}

/** @param written has passed `resolvedRepositoryProblems` */
export function repositorySpec(written: unknown): RepositorySpec {
  const { path, refs = ['*'], ignore = [], description } = written as z.infer<typeof REPOSITORY>;
  return { path: resolve(path), refs, ignore, description };
}

function pathFault(path: string): string | undefined {
  if (path.includes('\0')) return 'contains a NUL character: remove it';
  if (!isAbsolute(path)) return 'is not absolute: write the whole path of the repository';
  if (resolve(path) === parse(resolve(path)).root) return 'is the whole file system: name one repository';
  return undefined;
}

function globFault(glob: string): string | undefined {
  if (glob === '') return 'is empty: write a glob such as "main" or "secrets/*"';
  if (glob.length > 512) return 'is too long: use at most 512 characters';
  return glob.includes('\0') ? 'contains a NUL character: remove it' : undefined;
}
