import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Loose } from './agent.ts';
import { eventually } from './processes.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const LAUNCHER = path.join(ROOT, 'bin/castellan');
const WAIT_MS = 20_000;
const META = 'io.modelcontextprotocol/';

/** A client without an SDK that has started `castellan mcp-serve`, writes what it is told to and keeps what it reads. */
export class StdioClient implements AsyncDisposable {
  readonly process: ChildProcess;
  /** Every line of stdout, parsed: whatever is no JSON fails the test at once. */
  readonly messages: Loose[] = [];
  readonly exited: Promise<number | null>;
  #stderr = '';
  #rest = '';
  #lastId = 0;

  constructor(args: readonly string[], env: Record<string, string> = {}) {
    this.process = spawn(process.execPath, [LAUNCHER, 'mcp-serve', ...args], {
      cwd: ROOT,
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.process.stdout!.on('data', (chunk) => {
      const lines = `${this.#rest}${chunk}`.split('\n');
      this.#rest = lines.pop() ?? '';
      this.messages.push(...lines.map((line) => JSON.parse(line)));
    });
    this.process.stderr!.on('data', (chunk) => {
      this.#stderr += chunk;
    });
    this.process.stdin!.on('error', () => undefined);
    this.exited = new Promise((resolve) => this.process.on('close', resolve));
  }

  get stderr(): string {
    return this.#stderr;
  }

  write(text: string): void {
    this.process.stdin!.write(`${text}\n`);
  }

  /** Sends a request; its id. */
  send(method: string, params?: object, id: number | string = this.#nextId()): number | string {
    this.write(JSON.stringify({ jsonrpc: '2.0', id, method, ...(params && { params }) }));
    return id;
  }

  /** The same as a client of 2026-07-28. */
  sendModern(method: string, params: object = {}, id: number | string = this.#nextId()): number | string {
    const _meta = { [`${META}protocolVersion`]: '2026-07-28', [`${META}clientCapabilities`]: {} };
    return this.send(method, { ...params, _meta: { ..._meta, ...(params as Loose)._meta } }, id);
  }

  notify(method: string, params: object = {}): void {
    this.write(JSON.stringify({ jsonrpc: '2.0', method, params }));
  }

  async until(what: string, found: (message: Loose) => boolean): Promise<Loose> {
    await eventually(what, () => this.messages.some(found) || this.process.exitCode !== null, WAIT_MS);
    const message = this.messages.find(found);
    assert.ok(message, `${what}: ${this.#stderr}`);
    return message;
  }

  answer(id: number | string): Promise<Loose> {
    return this.until(`the answer to ${id}`, (one) => one.id === id && one.method === undefined);
  }

  ask(method: string, params?: object): Promise<Loose> {
    return this.answer(this.send(method, params));
  }

  askModern(method: string, params?: object): Promise<Loose> {
    return this.answer(this.sendModern(method, params));
  }

  /** Begins a session of 2025-11-25; what the server answered. */
  async initialize(capabilities: object = {}): Promise<Loose> {
    const clientInfo = { name: 'stdio', version: '1' };
    const hello = { protocolVersion: '2025-11-25', capabilities, clientInfo };
    const { result } = await this.ask('initialize', hello);
    this.notify('notifications/initialized');
    return result;
  }

  /** Closes its side, as a client that is done does; the exit code. */
  async close(): Promise<number | null> {
    this.process.stdin!.end();
    return this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) this.process.kill('SIGKILL');
    await this.exited;
  }

  #nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }
}
