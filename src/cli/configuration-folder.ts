import { homedir } from 'node:os';
import path from 'node:path';
import type { VerbContext } from './verbs.ts';

/** Where the command line keeps what belongs to this user. */
export function configurationFolder(env: VerbContext['env']): string {
  const base = env.XDG_CONFIG_HOME || path.join(env.HOME || homedir(), '.config');
  return path.join(base, 'castellan');
}
