import { readFile } from 'node:fs/promises';
import { messageOf } from '../base/errors.ts';
import { failed, usage } from './exit.ts';
import { readStdin } from './stdin.ts';
import type { Terminal } from './terminal.ts';
import type { VerbContext } from './verbs.ts';

export const TOKEN_SOURCES = '"-" (stdin), env:VARIABLE or file:PATH';

/** A token from where it is not seen by everybody who lists processes. @throws CommandFailure */
export async function givenToken(source: string, { env, terminal }: Pick<VerbContext, 'env' | 'terminal'>) {
  return usableToken(await rawToken(source, env, terminal), source === '-' ? 'stdin' : source);
}

/** @throws CommandFailure naming the source */
export function usableToken(raw: string | undefined, source: string): string {
  const token = raw?.trim() ?? '';
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw usage(`${source} holds no usable token: it must be one word of printable ASCII characters`);
}

async function rawToken(
  source: string,
  env: VerbContext['env'],
  terminal: VerbContext['terminal'],
): Promise<string | undefined> {
  if (source === '-') return process.stdin.isTTY ? typedToken(terminal) : readStdin();
  const [, kind, place = ''] = /^(env|file):(.+)$/s.exec(source) ?? [];
  if (kind === 'env') return env[place];
  if (kind !== 'file') throw usage(`"${source}" is no place for a token: write ${TOKEN_SOURCES}`);
  try {
    return await readFile(place, 'utf8');
  } catch (error) {
    throw failed(`${place} cannot be read: ${messageOf(error)}`);
  }
}

/** One line from the terminal, which does not show it. */
async function typedToken(terminal: VerbContext['terminal']): Promise<string> {
  const { stdin } = process;
  terminal.note('Paste the token and press Enter (it is not shown):');
  stdin.setRawMode(true);
  try {
    let typed = '';
    for await (const chunk of stdin as AsyncIterable<Buffer>) {
      typed += chunk.toString('utf8');
      if (typed.includes('\x03')) throw failed('given up');
      const [line, rest] = typed.split(/[\r\n\x04]/, 2);
      if (rest !== undefined) return line ?? '';
      if (typed.length > 4096) throw usage('that is no token: it is too long');
    }
    return typed;
  } finally {
    stdin.setRawMode(false);
    stdin.pause();
  }
}

export function warnOfPlainHttp(url: URL, terminal: Terminal): void {
  const isLoopback = /^(localhost|\[::1\]|127(\.\d{1,3}){3})$/.test(url.hostname);
  if (url.protocol === 'http:' && !isLoopback)
    terminal.warn(`the token travels unencrypted to ${url.host}; use https`);
}
