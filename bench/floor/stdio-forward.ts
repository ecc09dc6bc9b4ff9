import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { ServerResponse } from 'node:http';
import type { Readable, Writable } from 'node:stream';
import type { Message } from '../era.ts';
import { LineSplitter } from '../line-splitter.ts';
import type { Forward } from './forward.ts';

/** One child process that answers lines. Callers choose ids freely, so each request travels under an id of ours. */
class StdioChild {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #pending = new Map<number, { callerId: string; response: ServerResponse }>();
  #nextId = 1;
  #outgoing = '';

  constructor(args: string[]) {
    this.#child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const splitter = new LineSplitter();
    this.#child.stdout.on('data', (chunk: Buffer) => {
      for (const line of splitter.push(chunk)) this.#answer(line);
    });
  }

  /** Lines of one turn of the event loop leave in one write. */
  request(message: Message, response: ServerResponse): void {
    this.#pending.set(this.#nextId, { callerId: JSON.stringify(message.id), response });
    message.id = this.#nextId;
    this.#nextId += 1;
    if (this.#outgoing === '') setImmediate(() => this.#flush());
    this.#outgoing += `${JSON.stringify(message)}\n`;
  }

  #flush(): void {
    this.#child.stdin.write(this.#outgoing);
    this.#outgoing = '';
  }

  /** Puts the caller's id back into the text, which saves a second serialisation. */
  #answer(line: string): void {
    const id = (JSON.parse(line) as { id: number }).id;
    const entry = this.#pending.get(id);
    if (entry === undefined) return;
    this.#pending.delete(id);
    const text = line.replace(`"id":${id}`, () => `"id":${entry.callerId}`);
    const head = ['content-type', 'application/json', 'content-length', String(Buffer.byteLength(text))];
    entry.response.writeHead(200, head).end(text);
  }
}

/** Passes requests on to one child process, started by the first of them, and its answers back. */
export function createStdioForward(args: string[]): Forward {
  let child: StdioChild | undefined;
  return (_headers, message, _body, response) => {
    if (message.id === undefined) {
      response.writeHead(202).end();
      return;
    }
    child ??= new StdioChild(args);
    child.request(message, response);
  };
}
