import type { Command, Option } from 'commander';
import { KINDS } from '../../resources/kinds.ts';
import { CLIENTS } from '../client-entries.ts';
import { Contexts } from '../contexts.ts';
import { ServerClient, type ServerFlags } from '../server-client.ts';
import { isLive, LIVE_KINDS, targetsOf } from '../targets.ts';
import type { VerbContext } from '../verbs.ts';

/** Nobody waits longer for a list of names, ms. */
const PATIENCE_MS = 1_500;

type Flags = ServerFlags & { project?: string };
type Named = { metadata: { name: string } };

/**
 * What could stand in place of the last word. Silent about everything that goes wrong: a shell that asks cannot show
 * it.
 */
export async function candidates(
  program: Command,
  words: readonly string[],
  context: VerbContext,
): Promise<string[]> {
  try {
    return await candidatesFor(program, words, context);
  } catch {
    return [];
  }
}

async function candidatesFor(
  program: Command,
  words: readonly string[],
  context: VerbContext,
): Promise<string[]> {
  const current = words.at(-1) ?? '';
  const { command, positional, flags, open } = understood(program, words.slice(0, -1));
  if (open) return valuesOf(open, flags, context);
  if (current.startsWith('-')) return command.options.flatMap(({ long, short }) => [long ?? '', short ?? '']);
  const inner = command.commands.flatMap((one) => [one.name(), ...one.aliases()]);
  if (inner.length > 0) return inner;
  const argument =
    command.registeredArguments[Math.min(positional.length, command.registeredArguments.length - 1)];
  if (!argument) return [];
  if (command.registeredArguments[0]?.name() === 'kind')
    return objectWords(current, positional, flags, context);
  if (argument.name() === 'client') return [...CLIENTS];
  if (argument.name() === 'tool') return toolNames(flags, context);
  if (command.parent?.name() === 'mcp') return names('servers', {}, flags, context);
  return [];
}

/** The command that the words name, and what is given to it so far. */
function understood(program: Command, words: readonly string[]) {
  let command = program;
  const positional: string[] = [];
  const flags: Record<string, string> = {};
  let open: Option | undefined;
  for (const word of words) {
    const inner = command.commands.find((one) => one.name() === word || one.aliases().includes(word));
    if (open) {
      flags[open.attributeName()] = word;
      open = undefined;
    } else if (word.startsWith('-')) {
      const [flag, value] = word.split('=', 2);
      const option = command.options.find(({ long, short }) => long === flag || short === flag);
      if (option && (option.required || option.optional)) {
        if (value === undefined) open = option;
        else flags[option.attributeName()] = value;
      }
    } else if (inner && positional.length === 0) command = inner;
    else positional.push(word);
  }
  return { command, positional, flags: flags as Flags, open };
}

async function valuesOf(option: Option, flags: Flags, context: VerbContext): Promise<string[]> {
  if (option.argChoices) return option.argChoices;
  if (option.long === '--project') return names('projects', {}, flags, context);
  if (option.long === '--context') return [...(await Contexts.read(context.env)).all.keys()];
  return option.long === '--surface' ? ['consumer', 'operator'] : [];
}

async function objectWords(
  current: string,
  positional: readonly string[],
  flags: Flags,
  context: VerbContext,
): Promise<string[]> {
  const [kindWord = '', isNamed] = current.split('/', 2);
  if (positional.length === 0 && isNamed === undefined) {
    return [
      ...KINDS.flatMap(({ plural, singular, alias }) => [plural, singular, alias ?? '']),
      ...LIVE_KINDS,
    ].filter((word) => word !== '');
  }
  const [target] = targetsOf(isNamed === undefined ? (positional[0] ?? '') : `${kindWord}/x`, []);
  if (!target) return [];
  if (target.kind === 'tools') return toolNames(flags, context);
  if (isLive(target.kind)) return [];
  const query = target.kind.kind === 'McpToken' ? { project: flags.project } : {};
  const known = await names(target.kind.plural, query, flags, context);
  return isNamed === undefined ? known : known.map((name) => `${kindWord}/${name}`);
}

async function names(
  plural: string,
  query: Record<string, string | undefined>,
  flags: Flags,
  context: VerbContext,
): Promise<string[]> {
  const client = await ServerClient.connect(flags, context, PATIENCE_MS);
  const { items } = await client.get(plural, query);
  return [...new Set((items as Named[]).map(({ metadata }) => metadata.name))];
}

async function toolNames(flags: Flags, context: VerbContext): Promise<string[]> {
  const client = await ServerClient.connect(flags, context, PATIENCE_MS);
  let { project } = flags;
  if (project === undefined) {
    const all = await names('projects', {}, flags, context);
    project = all.includes('default') ? 'default' : all.length === 1 ? all[0] : undefined;
  }
  if (project === undefined) return [];
  const { items } = await client.get(`projects/${encodeURIComponent(project)}/tools`);
  return (items as { canonical: string }[]).map(({ canonical }) => canonical);
}
