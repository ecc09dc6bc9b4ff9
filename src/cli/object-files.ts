import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Command } from 'commander';
import { messageOf } from '../base/errors.ts';
import { type AppliedObject, objectsToApply } from '../resources/apply.ts';
import { KINDS, kindOf } from '../resources/kinds.ts';
import { describeProblem } from '../resources/problems.ts';
import { failed, usage } from './exit.ts';
import { repeated } from './options.ts';
import { readStdin } from './stdin.ts';
import type { VerbContext } from './verbs.ts';

const ENDINGS = ['.yaml', '.yml', '.json', '.jsonc'];
const MAX_FILES = 1000;
const RANK = KINDS.map((one) => one.kind);

export function withFiles(command: Command, isRequired: boolean): Command {
  const about = 'a file, a folder (its .yaml, .yml, .json and .jsonc files), or "-"; may be given again';
  return isRequired
    ? command.requiredOption('-f, --filename <file>', about, repeated)
    : command.option('-f, --filename <file>', about, repeated);
}

/** All objects of the files, in an order in which each finds what it names. @throws CommandFailure when one is broken */
export async function readObjectFiles(
  given: readonly string[],
  context: VerbContext,
  undone: string,
): Promise<AppliedObject[]> {
  if (given.filter((file) => file === '-').length > 1) throw usage('-f - is given twice; stdin is read once');
  const objects: AppliedObject[] = [];
  for (const file of (await Promise.all(given.map(filesOf))).flat()) {
    objects.push(...(await readObjects(file, context, undone)));
  }
  return objects.sort((a, b) => RANK.indexOf(a.kind) - RANK.indexOf(b.kind));
}

/** The objects that a text means. @throws CommandFailure saying that what was wanted is `undone` */
export function objectsOfText(
  name: string,
  text: string,
  { env, terminal }: Pick<VerbContext, 'env' | 'terminal'>,
  undone: string,
): AppliedObject[] {
  const { objects, problems, notices } = objectsToApply(name, text, env);
  for (const notice of notices) terminal.warn(describeProblem(notice));
  if (problems.length > 0) throw failed(`${undone}:\n${problems.map(describeProblem).join('\n')}`);
  return objects;
}

async function filesOf(given: string): Promise<string[]> {
  if (given === '-') return [given];
  const folder = await stat(given).catch(() => undefined);
  if (!folder?.isDirectory()) return [given];
  const names = (await readdir(given)).filter((name) => ENDINGS.includes(path.extname(name))).sort();
  if (names.length === 0) throw failed(`${given} holds no ${ENDINGS.join(', ')} file`);
  if (names.length > MAX_FILES) throw failed(`${given} holds more than ${MAX_FILES} files`);
  return names.map((name) => path.join(given, name));
}

async function readObjects(file: string, context: VerbContext, undone: string): Promise<AppliedObject[]> {
  const name = file === '-' ? 'stdin' : file;
  let text: string;
  try {
    text = file === '-' ? await readStdin() : await readFile(file, 'utf8');
  } catch (error) {
    throw failed(`${name} cannot be read: ${messageOf(error)}`);
  }
  return objectsOfText(name, text, context, undone);
}

/** `server/github` */
export function labelOf({ kind, metadata }: Pick<AppliedObject, 'kind' | 'metadata'>): string {
  return `${kind.toLowerCase()}/${metadata.name}`;
}

/** Where the API has an object, with what it needs to find it. */
export function placeOf({ kind, metadata }: Pick<AppliedObject, 'kind' | 'metadata'>): {
  path: string;
  query: { project?: string };
} {
  const query = metadata.project === undefined ? {} : { project: metadata.project };
  return { path: `${kindOf(kind).plural}/${encodeURIComponent(metadata.name)}`, query };
}
