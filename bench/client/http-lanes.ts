import { VERSION } from '../era.ts';
import type { Lane } from './closed-loop.ts';
import { type HttpAnswer, HttpConnection } from './http-connection.ts';
import type { Job } from './job.ts';
import {
  countTools,
  faultOf,
  INITIALIZE,
  INITIALIZED,
  methodOf,
  nextCursorOf,
  RequestTexts,
} from './wire.ts';

/** Legacy callers share this many sessions: agents that each make several calls at once. */
const LEGACY_SESSIONS = 8;

export type Lanes = { lanes: Lane[]; childPid?: number; close(): Promise<void> };

type Counter = { value: number };

/** Opens the connections and, for legacy, the sessions; nothing of that falls into the measured window. */
export async function openHttpLanes(job: Job, url: URL, token: string | undefined): Promise<Lanes> {
  const ids: Counter = { value: 1 };
  const connections = await Promise.all(
    Array.from({ length: job.concurrency }, () => HttpConnection.open(url)),
  );
  const head = headOf(job, url, token);
  const sessions: string[] = [];
  if (job.era === 'legacy') {
    for (const connection of connections.slice(0, LEGACY_SESSIONS))
      sessions.push(await openSession(connection, head));
  }
  const lanes = connections.map(
    (connection, index) =>
      new HttpLane(connection, head + (sessions[index % sessions.length] ?? ''), job, ids),
  );
  const close = async () => {
    const first = connections[0]!;
    for (const session of sessions.filter((text) => text !== ''))
      await ask(first, (head + session).replace('POST', 'DELETE'), '');
    for (const connection of connections) connection.close();
  };
  return { lanes, close };
}

class HttpLane implements Lane {
  readonly #connection: HttpConnection;
  readonly #head: string;
  readonly #job: Job;
  readonly #ids: Counter;
  readonly #texts: RequestTexts;

  constructor(connection: HttpConnection, head: string, job: Job, ids: Counter) {
    this.#connection = connection;
    this.#head = head;
    this.#job = job;
    this.#ids = ids;
    this.#texts = new RequestTexts(job.era, job.operation, job.tool);
  }

  run(done: (fault: string | undefined) => void): void {
    this.#ask(undefined, 0, done);
  }

  /** A list is one operation over all its pages. */
  #ask(cursor: string | undefined, toolsSoFar: number, done: (fault: string | undefined) => void): void {
    const { operation, tools } = this.#job;
    const id = this.#ids.value++;
    this.#connection.post(this.#head, this.#texts.body(id, cursor), ({ status, body }) => {
      const fault = status === 200 ? faultOf(operation, id, body) : `HTTP ${status}`;
      if (fault !== undefined) return done(`${fault}: ${body.slice(0, 400)}`);
      if (operation !== 'list') return done(undefined);
      const count = toolsSoFar + countTools(body);
      const next = nextCursorOf(body);
      if (next !== undefined) return this.#ask(next, count, done);
      done(count === tools ? undefined : `the list has ${count} tools instead of ${tools}`);
    });
  }
}

function headOf(job: Job, url: URL, token: string | undefined): string {
  return [
    `POST ${url.pathname} HTTP/1.1`,
    `host: ${url.host}`,
    'content-type: application/json',
    'accept: application/json, text/event-stream',
    ...(token === undefined ? [] : [`authorization: Bearer ${token}`]),
    `mcp-protocol-version: ${VERSION[job.era]}`,
    ...(job.era === 'modern' ? modernHeaders(job) : []),
    '',
  ].join('\r\n');
}

function modernHeaders(job: Job): string[] {
  const method = `mcp-method: ${methodOf(job.operation)}`;
  return job.operation === 'list' ? [method] : [method, `mcp-name: ${job.tool}`];
}

/** The header line of a new legacy session, or '' when the server keeps none. */
async function openSession(connection: HttpConnection, head: string): Promise<string> {
  const answer = await ask(connection, head, INITIALIZE);
  if (answer.status !== 200)
    throw new Error(`initialize: HTTP ${answer.status} ${answer.body.slice(0, 400)}`);
  const id = /\r\nmcp-session-id: *([^\r]+)/i.exec(answer.head)?.[1];
  const session = id === undefined ? '' : `mcp-session-id: ${id}\r\n`;
  await ask(connection, head + session, INITIALIZED);
  return session;
}

function ask(connection: HttpConnection, head: string, body: string): Promise<HttpAnswer> {
  return new Promise((resolve) => connection.post(head, body, resolve));
}
