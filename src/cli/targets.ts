import type { Command } from 'commander';
import { Refusal } from '../base/errors.ts';
import { type KindInfo, type KindName, kindOf } from '../resources/kinds.ts';
import { DEFAULT_PROJECT } from '../resources/objects.ts';
import { CommandFailure, Exit, usage } from './exit.ts';
import type { ServerClient } from './server-client.ts';
import type { VerbContext } from './verbs.ts';

export type StoredKind = KindInfo & { kind: KindName };

/** What `KIND [NAME...]` or `KIND/NAME...` mean. Tools are listed live and stored nowhere. */
export type Target = { kind: StoredKind | 'tools'; names: string[] };

/** Runs a check on what the user typed: its refusal is then a wrong flag or argument. */
export function checkedInput<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (error instanceof Refusal && error.kind === 'invalid') throw usage(error.message);
    throw error;
  }
}

/** Reads `server github`, `servers` or `srv/github`; one kind a command. */
export function targetOf(word: string, names: readonly string[]): Target {
  const [kindWord = '', name, ...rest] = word.split('/');
  if (name !== undefined) {
    if (rest.length > 0 || name === '') throw usage(`"${word}" is no KIND/NAME, such as server/github`);
    const more = names.map((one) => (one.startsWith(`${kindWord}/`) ? one.slice(kindWord.length + 1) : one));
    const other = more.find((one) => one.includes('/'));
    if (other !== undefined) throw usage(`"${other}": name one kind a command`);
    return { kind: kindNamed(kindWord), names: [name, ...more] };
  }
  return { kind: kindNamed(kindWord), names: [...names] };
}

function kindNamed(word: string): Target['kind'] {
  const wanted = word.toLowerCase();
  if (wanted === 'tool' || wanted === 'tools') return 'tools';
  // The plural of the alias is what people type.
  return checkedInput(() => kindOf(wanted === 'tokens' ? 'mcptokens' : word));
}

export function withProject(command: Command): Command {
  return command.option('-p, --project <project>', 'the project');
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
