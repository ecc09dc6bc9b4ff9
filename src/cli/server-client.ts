import type { Command } from 'commander';
import { readLocalAdmin } from '../identity/local-admin.ts';
import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import { Contexts, type ServerContext } from './contexts.ts';
import { transportFault } from './endpoint/endpoint-fault.ts';
import { CommandFailure, Exit, type ExitCode, usage } from './exit.ts';
import { accessTokenOf } from './sign-in/kept-sign-in.ts';
import { cleanForTerminal } from './terminal.ts';
import type { VerbContext } from './verbs.ts';

export type ServerFlags = { server?: string; context?: string; dataDir?: string; as?: string };

export const DEFAULT_DATA_DIR = './.castellan';
/** Above every limit of the server itself, so that it is the server that says what took too long. */
const TIMEOUT_MS = 120_000;
/** A stream says something every 15 seconds. */
const MAX_SILENCE_MS = 60_000;

/** Adds the options that say which server a verb talks to. */
export function withServer(command: Command): Command {
  return withAccess(withServerUrl(command));
}

/** The same without `--server`, for verbs where that means something else too. */
export function withAccess(command: Command): Command {
  return withKept(command).option(
    '--as <subject>',
    'act as User:EMAIL or McpToken:ID, with what both may do (needs impersonate)',
  );
}

/** The same without `--as`, for a verb that acts for nobody but its credential. */
export function withOwnServer(command: Command): Command {
  return withKept(withServerUrl(command));
}

function withServerUrl(command: Command): Command {
  return command.option(
    '--server <url>',
    'the server to talk to (default: that of the context, else the one on the data directory)',
  );
}

function withKept(command: Command): Command {
  return command
    .option('--context <name>', 'a server that `castellan login` or `castellan context set` made known')
    .option(
      '--data-dir <dir>',
      `data directory of the server (default: $CASTELLAN_DATA_DIR, else ${DEFAULT_DATA_DIR})`,
    );
}

/** Where a server is, by its origin, and what proves the caller there. */
export type Access = { url: URL; credential: string; as?: string | undefined };

/** Talks to the REST API of one server. Every method throws a CommandFailure that names the fault and the fix. */
export class ServerClient {
  readonly #findAccess: (refused?: string) => Promise<Access>;
  readonly #timeoutMs: number;
  #access: Access;

  private constructor(findAccess: (refused?: string) => Promise<Access>, access: Access, timeoutMs: number) {
    this.#findAccess = findAccess;
    this.#access = access;
    this.#timeoutMs = timeoutMs;
  }

  static async connect(
    flags: ServerFlags,
    { env }: Pick<VerbContext, 'env'>,
    timeoutMs = TIMEOUT_MS,
  ): Promise<ServerClient> {
    if (flags.as !== undefined && !/^(User|McpToken):./.test(flags.as))
      throw usage(`--as "${flags.as}" names nobody: write User:EMAIL or McpToken:ID`);
    const findAccess = async (refused?: string) => ({
      ...(await accessOf(flags, env, refused)),
      as: flags.as,
    });
    return new ServerClient(findAccess, await findAccess(), timeoutMs);
  }

  /** With what is at hand already. */
  static over(access: Access): ServerClient {
    return new ServerClient(async () => access, access, TIMEOUT_MS);
  }

  get origin(): string {
    return this.#access.url.origin;
  }

  get(path: string, query: Query = {}): Promise<JsonObject> {
    return this.#api('GET', path, query);
  }

  put(path: string, body: unknown, query: Query = {}): Promise<JsonObject> {
    return this.#api('PUT', path, query, body);
  }

  post(path: string, body?: unknown, query: Query = {}): Promise<JsonObject> {
    return this.#api('POST', path, query, body);
  }

  delete(path: string, query: Query = {}): Promise<JsonObject> {
    return this.#api('DELETE', path, query);
  }

  /** Posts one JSON-RPC message to an MCP endpoint of the server, without a session. */
  mcp(path: string, message: JsonObject): Promise<JsonObject> {
    return this.#json('POST', new URL(path, this.#access.url), message);
  }

  /** The JSON lines of an answer that has no end of its own; it ends when the server ends it or falls silent. */
  async *lines(path: string, query: Query = {}): AsyncGenerator<JsonObject, void> {
    const silence = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), MAX_SILENCE_MS).unref();
    };
    heard();
    try {
      const response = await this.#sendTwice('GET', this.#urlOf(path, query), undefined, silence.signal);
      if (!response.ok) throw refusalOf('GET', response.status, await bodyOf(response), this.#access.url);
      let rest = '';
      for await (const text of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
        heard();
        const parts = (rest + text).split('\n');
        rest = parts.pop() ?? '';
        for (const line of parts) yield JSON.parse(line) as JsonObject;
      }
    } catch (error) {
      // A connection that breaks is one that ended.
      if (error instanceof CommandFailure) throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #api(method: string, path: string, query: Query, body?: unknown): Promise<JsonObject> {
    return this.#json(method, this.#urlOf(path, query), body);
  }

  #urlOf(path: string, query: Query): URL {
    const url = new URL(`/api/v1/${path}`, this.#access.url);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) url.searchParams.set(name, String(value));
    }
    return url;
  }

  async #json(method: string, url: URL, body: unknown): Promise<JsonObject> {
    const response = await this.#sendTwice(method, url, body);
    const value = await bodyOf(response);
    if (!response.ok) throw refusalOf(method, response.status, value, this.#access.url);
    if (!isObject(value)) {
      const found = `${this.origin} answers ${url.pathname} with something that is no JSON object`;
      throw new CommandFailure(Exit.unreachable, `${found}; is it a Castellan server?`);
    }
    return value;
  }

  /** Once more with the credential of now: the server may have started anew, or the token may have ended. */
  async #sendTwice(method: string, url: URL, body: unknown, signal?: AbortSignal): Promise<Response> {
    const response = await this.#send(method, url, body, signal);
    if (response.status !== 401) return response;
    await response.body?.cancel();
    this.#access = await this.#findAccess(this.#access.credential);
    return this.#send(method, new URL(url.pathname + url.search, this.#access.url), body, signal);
  }

  async #send(
    method: string,
    url: URL,
    body: unknown,
    signal: AbortSignal = AbortSignal.timeout(this.#timeoutMs),
  ): Promise<Response> {
    const headers: Record<string, string> = {
      accept: 'application/json',
      authorization: `Bearer ${this.#access.credential}`,
    };
    if (this.#access.as !== undefined) headers['castellan-as'] = this.#access.as;
    if (body !== undefined) headers['content-type'] = 'application/json';
    try {
      return await fetch(url, {
        method,
        headers,
        redirect: 'manual',
        signal,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (error) {
      const { message } = transportFault(url, error, this.#timeoutMs);
      throw new CommandFailure(
        Exit.unreachable,
        `${message}. Start it with \`castellan serve\`, or name another one with --server`,
      );
    }
  }
}

type Query = Readonly<Record<string, string | boolean | undefined>>;

/**
 * By flags, else by the variable, else by the current context, else the server on the default data directory.
 * @param refused a credential that the server takes no more
 */
export async function accessOf(
  flags: ServerFlags,
  env: VerbContext['env'],
  refused: string | undefined,
): Promise<Access> {
  if (flags.server !== undefined && flags.context !== undefined)
    throw usage('--server and --context both name a server: leave one out');
  const dataDir = flags.dataDir ?? (env.CASTELLAN_DATA_DIR || undefined);
  if (flags.server !== undefined)
    return accessByUrl(serverUrl(flags.server, '--server'), dataDir, env, refused);
  if (flags.context === undefined && dataDir !== undefined) return accessOfDataDir(dataDir);
  const contexts = await Contexts.read(env);
  const name = flags.context ?? contexts.current;
  if (name === undefined) return accessOfDataDir(DEFAULT_DATA_DIR);
  const context = contexts.named(name);
  const kept = await accessOfContext(name, context, env, refused);
  if (kept) return kept;
  const url = serverUrl(context.server, `context ${name}`);
  if (env.CASTELLAN_TOKEN) return { url, credential: env.CASTELLAN_TOKEN };
  const fix = `run castellan login --context ${name}`;
  throw new CommandFailure(Exit.notPermitted, `context ${name} has no token: ${fix}`);
}

async function accessOfDataDir(dataDir: string): Promise<Access> {
  const { url, credential } = await readLocalAdmin(dataDir);
  return { url: new URL(url), credential };
}

/** With what the context keeps; undefined where that is nothing. */
async function accessOfContext(
  name: string,
  { server, token, signIn }: ServerContext,
  env: VerbContext['env'],
  refused: string | undefined,
): Promise<Access | undefined> {
  const url = serverUrl(server, `context ${name}`);
  if (token !== undefined) return { url, credential: token };
  return signIn && { url, credential: await accessTokenOf({ name, server: url, signIn }, env, refused) };
}

/** A credential is never shown to a server that it is not for. */
async function accessByUrl(
  url: URL,
  dataDir = DEFAULT_DATA_DIR,
  env: VerbContext['env'],
  refused: string | undefined,
): Promise<Access> {
  if (env.CASTELLAN_TOKEN) return { url, credential: env.CASTELLAN_TOKEN };
  const local = await readLocalAdmin(dataDir).catch(() => undefined);
  if (local && new URL(local.url).origin === url.origin) return { url, credential: local.credential };
  const { all, current } = await Contexts.read(env);
  for (const name of new Set([current ?? '', ...all.keys()])) {
    const context = all.get(name);
    const isOfServer = context?.server === url.origin;
    const kept = isOfServer && (await accessOfContext(name, context, env, refused));
    if (kept) return kept;
  }
  const fix = 'run castellan login, set CASTELLAN_TOKEN, or give its --data-dir';
  throw new CommandFailure(Exit.notPermitted, `no credential for ${url.origin}: ${fix}`);
}

export function serverUrl(text: string, field: string): URL {
  const url = URL.parse(text);
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw usage(`${field} "${text}" is not an http:// or https:// URL, such as http://127.0.0.1:7400`);
  }
  if (url.username || url.password)
    throw usage(`${field} carries a user or password; set CASTELLAN_TOKEN instead`);
  return url;
}

async function bodyOf(response: Response): Promise<unknown> {
  const text = await response.text();
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What the server refuses, in its own words. */
export class ServerRefusal extends CommandFailure {
  readonly status: number;

  constructor(method: string, status: number, message: string) {
    super(exitCodeOf(method, status), message);
    this.name = 'ServerRefusal';
    this.status = status;
  }
}

function refusalOf(method: string, status: number, body: unknown, url: URL): ServerRefusal {
  const error = isObject(body) && isObject(body.error) ? body.error : undefined;
  const said = typeof error?.message === 'string' ? cleanForTerminal(error.message) : undefined;
  return new ServerRefusal(method, status, said ?? `${url.origin} answers HTTP ${status}`);
}

function exitCodeOf(method: string, status: number): ExitCode {
  // All that a GET carries was a flag or an argument; other bodies may come from files.
  if (status === 400 && method === 'GET') return Exit.usage;
  if (status === 401 || status === 403) return Exit.notPermitted;
  return status === 502 || status === 503 || status === 504 ? Exit.unreachable : Exit.failed;
}
