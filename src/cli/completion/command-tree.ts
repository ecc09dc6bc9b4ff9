import type { Command } from 'commander';

/** One verb, or one word below it, as a shell has to know it. */
export type CommandNode = {
  /** The words that lead to it, aliases in their own node: `create mcptoken`. Empty for the program. */
  path: string;
  /** What may follow, with aliases. */
  words: string[];
  /** `--output` and `-o`, alike. */
  flags: string[];
};

/** Every command of a program by its path, the program itself first. */
export function commandTree(program: Command): CommandNode[] {
  return nodesOf(program, '');
}

function nodesOf(command: Command, path: string): CommandNode[] {
  const named = command.commands.flatMap((inner) =>
    [inner.name(), ...inner.aliases()].map((name) => ({ name, inner })),
  );
  const node = { path, words: named.map(({ name }) => name), flags: flagsOf(command) };
  return [
    node,
    ...named.flatMap(({ name, inner }) => nodesOf(inner, path === '' ? name : `${path} ${name}`)),
  ];
}

function flagsOf(command: Command): string[] {
  const own = command.options.filter((option) => !option.hidden);
  return [...own.flatMap(({ long, short }) => [long, short]), '--help', '-h'].filter((flag) => flag != null);
}
