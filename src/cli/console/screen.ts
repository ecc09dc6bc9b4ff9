import { Box, render, Text, useInput } from 'ink';
import { createElement as element, useSyncExternalStore } from 'react';
import type { Key } from './keys.ts';
import { frameOf } from './layout.ts';
import { painted } from './lines.ts';
import type { State } from './model.ts';

/** State that says when it changed. */
export type Watched = { get(): State; subscribe(changed: () => void): () => void };

export type Screen = {
  /** Settles when the screen is left; rejects when it cannot be drawn. */
  left: Promise<unknown>;
  leave(): void;
};

/** Off while the console is shown: wrapping of lines that turn out too wide, and reordering by the terminal. */
const ENTER = '\x1b[?7l\x1b[8l';
const LEAVE = '\x1b[?7h\x1b[8h';

type Props = { state: Watched; colours: boolean; onKeys: (keys: readonly Key[]) => void };

/** Draws on the terminal's other screen, which leaves what was there before as it was. */
export function openScreen(props: Props): Screen {
  const { stdout, stdin } = process;
  const restore = () => stdout.write(LEAVE);
  process.once('exit', restore);
  stdout.write(ENTER);
  const ink = render(element(Console, props), {
    stdout,
    stdin,
    alternateScreen: true,
    // Ink takes a CI variable in the environment for a machine without anybody in front of it.
    interactive: true,
    exitOnCtrlC: false,
  });
  const left = ink.waitUntilExit().finally(() => {
    process.off('exit', restore);
    restore();
    if (stdin.isTTY) stdin.setRawMode(false);
  });
  return { left, leave: () => ink.unmount() };
}

function Console({ state, colours, onKeys }: Props) {
  const current = useSyncExternalStore(state.subscribe, state.get);
  useInput((input, key) => onKeys(keysOf(input, key)));
  const lines = frameOf(current).map((line, index) =>
    element(Text, { key: index, wrap: 'truncate-end' }, painted(line, colours)),
  );
  return element(Box, { flexDirection: 'column' }, ...lines);
}

const MAX_AT_ONCE = 400;

type InkKey = Parameters<Parameters<typeof useInput>[0]>[1];

const NAMED: readonly [keyof InkKey, Exclude<Key['name'], 'character'>][] = [
  ['upArrow', 'up'],
  ['downArrow', 'down'],
  ['pageUp', 'page-up'],
  ['pageDown', 'page-down'],
  ['home', 'home'],
  ['end', 'end'],
  ['return', 'enter'],
  ['escape', 'escape'],
  ['tab', 'tab'],
  ['backspace', 'backspace'],
  ['delete', 'backspace'],
];

const CONTROLS: Readonly<Record<string, Exclude<Key['name'], 'character'>>> = {
  '\r': 'enter',
  '\n': 'enter',
  '\t': 'tab',
  '\x1b': 'escape',
  '\x7f': 'backspace',
  '\b': 'backspace',
  '\x03': 'interrupt',
};

/** What is typed fast, or over a slow line, comes as several keys at once; what is more than that was pasted. */
function keysOf(input: string, key: InkKey): Key[] {
  const named = NAMED.find(([name]) => key[name])?.[1];
  if (named) return [{ name: named }];
  if (key.ctrl) {
    if (input === 'c') return [{ name: 'interrupt' }];
    return input === 'u' ? [{ name: 'character', character: '\x15' }] : [];
  }
  if (key.meta) return [];
  return [...input.slice(0, MAX_AT_ONCE)].map((character) => {
    const control = CONTROLS[character];
    return control ? { name: control } : { name: 'character', character };
  });
}
