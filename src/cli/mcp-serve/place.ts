import { setTimeout as delay } from 'node:timers/promises';
import type { RunningCastellan } from '../../app-options.ts';
import { Refusal } from '../../base/errors.ts';
import { credentialKind } from '../../base/ids.ts';
import { readLocalAdmin } from '../../identity/local-admin.ts';
import type { Surface } from '../../resources/spec.ts';
import { Contexts } from '../contexts.ts';
import { CommandFailure, Exit, usage } from '../exit.ts';
import { packageVersion } from '../package-version.ts';
import { serveSettings } from '../serve-settings.ts';
import { type Access, accessOf, DEFAULT_DATA_DIR, ServerClient } from '../server-client.ts';
import { projectOf } from '../targets.ts';
import type { VerbContext } from '../verbs.ts';
import { localToken } from './local-token.ts';

export type McpServeFlags = {
  server?: string;
  context?: string;
  dataDir?: string;
  project?: string;
  surface: Surface;
  config?: string[];
};

/** A server that starts on the data directory at the same time is waited for this long, ms. */
const STARTING_MS = 20_000;
/** Clients kill what has not ended about two seconds after they asked. */
const STOP_MS = 1_000;

/** Which server a client on this machine reaches, in which project, and with what. */
export class Place implements AsyncDisposable {
  readonly #flags: McpServeFlags;
  readonly #context: VerbContext;
  readonly #dataDir: string;
  /** The server was named: by a flag, or by the current context. */
  readonly #named: boolean;
  #embedded: RunningCastellan | undefined;
  #embedding: Promise<void> | undefined;
  /** The server is that of another client here, and goes when it goes. */
  #passing = false;
  #settled = false;
  #project = '';
  /** Stands for the administrator of the data directory. */
  #token: string | undefined;

  private constructor(flags: McpServeFlags, context: VerbContext, named: boolean, dataDir: string) {
    this.#flags = flags;
    this.#context = context;
    this.#named = named;
    this.#dataDir = dataDir;
  }

  /** @throws CommandFailure or Refusal, with nothing left running */
  static async open(flags: McpServeFlags, context: VerbContext): Promise<Place> {
    const { env } = context;
    const given = flags.dataDir ?? (env.CASTELLAN_DATA_DIR || undefined);
    const byFlag = flags.server !== undefined || flags.context !== undefined;
    const named = byFlag || (given === undefined && (await Contexts.read(env)).current !== undefined);
    if (named && flags.config)
      throw usage('--config is for a server of its own: name no other one, and say where with --data-dir');
    const place = new Place(flags, context, named, given ?? DEFAULT_DATA_DIR);
    try {
      const client = ServerClient.over(await place.#reach(undefined));
      place.#project = await projectOf(flags.project, client, context);
      return place;
    } catch (error) {
      await place[Symbol.asyncDispose]();
      throw error;
    }
  }

  get project(): string {
    return this.#project;
  }

  /** Path of the MCP endpoint. */
  get endpoint(): string {
    const surface = this.#flags.surface === 'operator' ? 'operator-mcp' : 'mcp';
    return `/projects/${encodeURIComponent(this.#project)}/${surface}`;
  }

  /**
   * Where the server is now, and what to prove there.
   * @param refused a credential that it takes no more
   */
  async find(refused?: string): Promise<Access> {
    const access = await this.#reach(refused);
    if (credentialKind(access.credential) !== 'adm') return access;
    const local = await readLocalAdmin(this.#dataDir).catch(() => undefined);
    if (local?.credential !== access.credential) {
      const fix = 'give a token of the project in CASTELLAN_TOKEN, or the data directory with --data-dir';
      throw new CommandFailure(Exit.notPermitted, `an administrator's credential is not passed on: ${fix}`);
    }
    // Whoever ends a token while it is in use means it: only a start makes another one.
    if (!this.#settled || this.#token === undefined) {
      const where = { dataDir: this.#dataDir, project: this.#project, surface: this.#flags.surface };
      this.#token = await localToken(where, access, refused);
    }
    return { url: access.url, credential: this.#token };
  }

  /** From now on no token is made, and a server that is gone is waited for. */
  settle(): void {
    this.#settled = true;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#embedding?.catch(() => undefined);
    await this.#embedded?.stop(STOP_MS);
  }

  async #reach(refused: string | undefined): Promise<Access> {
    const { env } = this.#context;
    if (this.#named) return accessOf(this.#flags, env, refused);
    const { url, credential } = await this.#local();
    return { url: new URL(url), credential: env.CASTELLAN_TOKEN || credential };
  }

  /** The server on the data directory; one of our own where none runs, and none is expected to come back. */
  async #local(): Promise<{ url: string; credential: string }> {
    try {
      return this.#found(await readLocalAdmin(this.#dataDir));
    } catch (error) {
      const none = error instanceof Refusal && error.kind === 'unavailable';
      const awaited = this.#settled && !this.#passing;
      if (!none || awaited || this.#embedded) throw error;
    }
    this.#embedding = this.#embed();
    await this.#embedding;
    for (const end = Date.now() + STARTING_MS; ; await delay(100)) {
      const found = await readLocalAdmin(this.#dataDir).catch((error: unknown) => {
        if (Date.now() > end) throw error;
      });
      if (found) return this.#found(found);
    }
  }

  #found<T extends { passing: boolean }>(admin: T): T {
    this.#passing = admin.passing;
    return admin;
  }

  /** Starts a server that nobody else reaches and that ends with this process; unless another one is about to run. */
  async #embed(): Promise<void> {
    const { terminal, env } = this.#context;
    const { config } = this.#flags;
    const settings = serveSettings(
      { dataDir: this.#dataDir, host: '127.0.0.1', port: '0', ...(config && { config }) },
      { ...env, CASTELLAN_PUBLIC_URL: undefined, CASTELLAN_LOG_LEVEL: env.CASTELLAN_LOG_LEVEL || 'warn' },
    );
    const { startCastellan } = await import('../../app.ts');
    try {
      this.#embedded = await startCastellan({ ...settings, env, version: packageVersion(), passing: true });
      terminal.note(`no castellan runs on ${this.#dataDir}: one of its own serves this client`);
    } catch (error) {
      if (!(error instanceof Refusal && error.kind === 'conflict')) throw error;
    }
  }
}
