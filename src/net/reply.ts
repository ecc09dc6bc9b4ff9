import type { Dispatcher } from 'undici';

/** The headers of a reply that anyone here looks at. */
export type ReplyHead = {
  status: number;
  /** Lower case, without parameters; empty when the reply named none. */
  contentType: string;
  contentLength: number | undefined;
  contentEncoding: string | undefined;
  sessionId: string | undefined;
  challenge: string | undefined;
  location: string | undefined;
};

/** Reads one HTTP reply as it arrives. Exactly one of `end`, `whole` and `failed` is called last. */
export interface ReplyReader {
  /** From now on `abort` frees the socket, whatever the phase; `failed` follows. */
  begun(abort: () => void): void;
  /** `resume` ends the pause that `data` asked for. */
  head(head: ReplyHead, resume: () => void): void;
  /** False: no more until `resume` is called. */
  data(chunk: Buffer): boolean;
  end(): void;
  /** Head, body and end of a reply that came in one piece. `bytes`: of the body as it came. */
  whole(head: ReplyHead, body: string, bytes: number): void;
  /** `sent`: a connection was there to send on. */
  failed(error: Error, sent: boolean): void;
}

/** How much is under way. */
export class Load {
  running = 0;
  readonly #whole: Load | undefined;

  /** @param whole counts what is under way here and elsewhere */
  constructor(whole?: Load) {
    this.#whole = whole;
  }

  begin(): void {
    this.running += 1;
    this.#whole?.begin();
  }

  end(): void {
    this.running -= 1;
    this.#whole?.end();
  }
}

/**
 * A reply that an undici pool reads. It speaks undici's low-level handler interface because parsing all headers into an
 * object and making a stream cost more than everything else here.
 */
export class PooledReply implements Dispatcher.DispatchHandler {
  readonly #reader: ReplyReader;
  #load: Load | undefined;
  #sent = false;

  constructor(reader: ReplyReader, load?: Load) {
    this.#reader = reader;
    this.#load = load;
    load?.begin();
  }

  onConnect(abort: (error?: Error) => void): void {
    this.#sent = true;
    this.#reader.begun(abort);
  }

  onHeaders(status: number, rawHeaders: Buffer[], resume: () => void): boolean {
    if (status >= 200) this.#reader.head(readHead(status, rawHeaders), resume);
    return true;
  }

  onData(chunk: Buffer): boolean {
    return this.#reader.data(chunk);
  }

  onComplete(): void {
    this.#over();
    this.#reader.end();
  }

  onError(error: Error): void {
    this.#over();
    this.#reader.failed(error, this.#sent);
  }

  #over(): void {
    this.#load?.end();
    this.#load = undefined;
  }
}

function readHead(status: number, raw: Buffer[]): ReplyHead {
  const head: ReplyHead = {
    status,
    contentType: '',
    contentLength: undefined,
    contentEncoding: undefined,
    sessionId: undefined,
    challenge: undefined,
    location: undefined,
  };
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = raw[at]!;
    // The length tells most uninteresting headers apart without decoding their names.
    switch (name.length) {
      case 8:
      case 12:
      case 14:
      case 16:
        readHeader(head, name.toString('latin1').toLowerCase(), raw[at + 1]!);
    }
  }
  return head;
}

function readHeader(head: ReplyHead, name: string, value: Buffer): void {
  switch (name) {
    case 'content-type':
      head.contentType = mediaType(value.toString('latin1'));
      break;
    case 'content-length':
      head.contentLength = Number(value.toString('latin1'));
      break;
    case 'content-encoding':
      head.contentEncoding = value.toString('latin1').trim().toLowerCase();
      break;
    case 'mcp-session-id':
      head.sessionId = value.toString('latin1');
      break;
    case 'www-authenticate':
      head.challenge =
        head.challenge === undefined
          ? value.toString('latin1')
          : `${head.challenge}, ${value.toString('latin1')}`;
      break;
    case 'location':
      head.location = value.toString('latin1');
  }
}

function mediaType(value: string): string {
  if (value === 'application/json' || value === 'text/event-stream') return value;
  const semicolon = value.indexOf(';');
  return (semicolon === -1 ? value : value.slice(0, semicolon)).trim().toLowerCase();
}
