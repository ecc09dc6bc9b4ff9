import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { isObject } from '../protocol/jsonrpc.ts';
import { nearest } from '../resources/names.ts';
import { lockFile } from '../store/file-lock.ts';
import { readPrivateFile, writePrivateFile } from '../store/private-file.ts';
import { configurationFolder } from './configuration-folder.ts';
import { failed, usage } from './exit.ts';
import type { VerbContext } from './verbs.ts';

type Environment = VerbContext['env'];

/** What a sign-in of this command line left here. */
export type SignIn = {
  accessToken: string;
  /** Each use of it brings another one. */
  refreshToken: string;
  /** ms since 1970, by the clock of this machine. */
  expiresAt: number;
};

/** A server that somebody talks to, and what they prove themselves with there: a token that they gave, or a sign-in. */
export type ServerContext = { server: string; token?: string; signIn?: SignIn };

const MAX_CONTEXTS = 1000;
const MAX_BYTES = 1024 * 1024;
/** Another process may be asking a server meanwhile. */
const PATIENCE_MS = 60_000;

/** The servers that this user knows by name, in one file that nobody else can read. */
export class Contexts {
  readonly file: string;
  readonly all: Map<string, ServerContext>;
  current: string | undefined;

  private constructor(file: string, all: Map<string, ServerContext>, current: string | undefined) {
    this.file = file;
    this.all = all;
    this.current = current;
  }

  /** @throws CommandFailure when the file is damaged, or open to others */
  static async read(env: Environment): Promise<Contexts> {
    const file = path.join(configurationFolder(env), 'contexts.json');
    const read = await readPrivateFile(file, MAX_BYTES);
    if (!read) return new Contexts(file, new Map(), undefined);
    if (read.openToOthers)
      throw failed(`${file} can be read by other users: run chmod 600 ${file}, and renew the tokens in it`);
    const { contexts, current } = parsed(read.content, file);
    return new Contexts(file, contexts, current);
  }

  /**
   * Reads, lets `change` change and writes, while no other process does. What `change` gives comes back.
   * @throws CommandFailure as `read` does, and when another process does not end
   */
  static async change<T>(env: Environment, change: (contexts: Contexts) => T | Promise<T>): Promise<T> {
    const folder = configurationFolder(env);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const file = path.join(folder, 'contexts.lock');
    const lock = await lockFile(file, PATIENCE_MS);
    if (!lock) throw failed(`another castellan has held ${file} for ${PATIENCE_MS / 1000} s: end it`);
    try {
      const contexts = await Contexts.read(env);
      const result = await change(contexts);
      await contexts.#write();
      return result;
    } finally {
      lock.release();
    }
  }

  /** @throws CommandFailure when there is none of that name */
  named(name: string): ServerContext {
    const found = this.all.get(name);
    if (found) return found;
    const meant = nearest(name, this.all.keys());
    const known = [...this.all.keys()].slice(0, 20).join(', ');
    const fix = meant
      ? `did you mean ${meant}?`
      : known
        ? `there are ${known}`
        : 'make one with castellan login';
    throw usage(`there is no context ${name}: ${fix}`);
  }

  async #write(): Promise<void> {
    if (this.all.size > MAX_CONTEXTS) throw failed(`there are ${MAX_CONTEXTS} contexts already: delete some`);
    const content = { current: this.current, contexts: Object.fromEntries(this.all) };
    await writePrivateFile(this.file, `${JSON.stringify(content, null, 2)}\n`);
  }
}

export function checkContextName(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name)) return name;
  throw usage(`"${name}" is no name of a context: use at most 63 letters, digits, ".", "_" and "-"`);
}

function parsed(
  content: string,
  file: string,
): { contexts: Map<string, ServerContext>; current: string | undefined } {
  const damaged = failed(`${file} is damaged: delete it, and log in again`);
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch {
    throw damaged;
  }
  if (!isObject(value) || !isObject(value.contexts)) throw damaged;
  const contexts = new Map<string, ServerContext>();
  for (const [name, entry] of Object.entries(value.contexts)) {
    if (!isObject(entry) || typeof entry.server !== 'string') throw damaged;
    const { server, token } = entry;
    const signIn = signInOf(entry.signIn);
    contexts.set(name, { server, ...(typeof token === 'string' && { token }), ...(signIn && { signIn }) });
  }
  const current = typeof value.current === 'string' ? value.current : undefined;
  return { contexts, current: current !== undefined && contexts.has(current) ? current : undefined };
}

function signInOf(value: unknown): SignIn | undefined {
  if (!isObject(value)) return undefined;
  const { accessToken, refreshToken, expiresAt } = value;
  const whole =
    typeof accessToken === 'string' && typeof refreshToken === 'string' && typeof expiresAt === 'number';
  return whole ? { accessToken, refreshToken, expiresAt } : undefined;
}
