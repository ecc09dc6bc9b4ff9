import type { Command } from 'commander';
import { Refusal } from '../base/errors.ts';
import { type KindInfo, type KindName, kindOf } from '../resources/kinds.ts';
import { DEFAULT_PROJECT } from '../resources/objects.ts';
import { CommandFailure, Exit, usage } from './exit.ts';
import type { ServerClient } from './server-client.ts';
import type { VerbContext } from './verbs.ts';

export type StoredKind = KindInfo & { kind: KindName };

/** What is listed as it is now, and nobody writes. */
export const LIVE_KINDS = ['tools', 'sessions', 'grants', 'approvals', 'tickets'] as const;
export type LiveKind = (typeof LIVE_KINDS)[number];

/** What `KIND [NAME...]` or `KIND/NAME...` mean. */
export type Target = { kind: StoredKind | LiveKind; names: string[] };
export type StoredTarget = { kind: StoredKind; names: string[] };

/** Runs a check on what the user typed: its refusal is then a wrong flag or argument. */
export function checkedInput<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (error instanceof Refusal && error.kind === 'invalid') throw usage(error.message);
    throw error;
  }
}

/**
 * Reads `server github`, `servers`, `srv/github`, `server/a project/b` or `servers,projects`; in the order of the
 * words, names of one kind together.
 */
export function targetsOf(word: string, names: readonly string[]): Target[] {
  if (word.includes(',')) {
    if (names.length > 0) throw usage('several kinds take no names; write KIND/NAME for each');
    return word.split(',').map((one) => ({ kind: kindNamed(one), names: [] }));
  }
  if (!word.includes('/')) {
    const other = names.find((name) => name.includes('/'));
    if (other !== undefined) throw usage(`"${other}": write KIND/NAME everywhere, or the kind once`);
    return [{ kind: kindNamed(word), names: [...names] }];
  }
  const targets: Target[] = [];
  let kind: Target['kind'] | undefined;
  for (const one of [word, ...names]) {
    const [kindWord = '', name, ...rest] = one.split('/');
    // Names that follow belong to the kind before them.
    if (name !== undefined) kind = kindNamed(kindWord);
    if (!kind || rest.length > 0 || name === '')
      throw usage(`"${one}" is no KIND/NAME, such as server/github`);
    const same = targets.find((target) => nameOf(target.kind) === nameOf(kind!));
    if (same) same.names.push(name ?? one);
    else targets.push({ kind, names: [name ?? one] });
  }
  return targets;
}

/** The same for verbs that act on stored objects alone. */
export function storedTargets(word: string, names: readonly string[], verb: string): StoredTarget[] {
  return targetsOf(word, names).map(({ kind, names: named }) => {
    if (!isLive(kind)) return { kind, names: named };
    const why = kind === 'tools' ? ': they belong to their server, whose spec.tools shapes them' : '';
    throw usage(`castellan ${verb} knows no ${kind}${why}`);
  });
}

/** The same for verbs that take one kind. */
export function storedTarget(word: string, names: readonly string[], verb: string): StoredTarget {
  const [target, ...more] = storedTargets(word, names, verb);
  if (!target || more.length > 0) throw usage('name one kind a command');
  return target;
}

export function isLive(kind: Target['kind']): kind is LiveKind {
  return typeof kind === 'string';
}

const nameOf = (kind: Target['kind']) => (isLive(kind) ? kind : kind.kind);

function kindNamed(word: string): Target['kind'] {
  const wanted = word.toLowerCase();
  const live = LIVE_KINDS.find((one) => one === wanted || one === `${wanted}s`);
  if (live) return live;
  // The plural of the alias is what people type.
  return checkedInput(() => kindOf(wanted === 'tokens' ? 'mcptokens' : word));
}

export function withProject(command: Command): Command {
  return command.option('-p, --project <project>', 'the project');
}

export function withSelector(command: Command): Command {
  return command.option(
    '-l, --selector <selector>',
    'only those with these labels: team=red,tier in (web,api)',
  );
}

/** The project that is meant: the one named, else the credential's own, else `default`, else the only one. */
export async function projectOf(
  flag: string | undefined,
  client: ServerClient,
  { terminal }: Pick<VerbContext, 'terminal'>,
): Promise<string> {
  if (flag !== undefined) return flag;
  const { project: own } = await client.get('mcptokens/introspect');
  if (typeof own === 'string' && own !== '*') return own;
  const { items } = await client.get('projects');
  const names = (items as { metadata: { name: string } }[]).map((project) => project.metadata.name);
  if (names.includes(DEFAULT_PROJECT)) return DEFAULT_PROJECT;
  if (names.length === 0) {
    throw new CommandFailure(
      Exit.failed,
      'there is no project yet: apply one with `castellan apply -f FILE`',
    );
  }
  if (names.length > 1) throw usage(`-p PROJECT is missing: there are ${names.slice(0, 20).join(', ')}`);
  terminal.hint(`project ${names[0]}`);
  return names[0] ?? DEFAULT_PROJECT;
}
