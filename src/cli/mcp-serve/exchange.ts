import {
  asMessage,
  type JsonRpcError,
  type JsonRpcFailure,
  type JsonRpcResponse,
  type RequestId,
} from '../../protocol/jsonrpc.ts';
import { type Resume, readEvents } from '../endpoint/event-stream.ts';
import { contentType, parseJson, readText, sentenceOf } from '../endpoint/http-exchange.ts';
import { LinkFault, type ServerLink } from './server-link.ts';

/** Far above the usual limit of a result, and still little enough to be held as a whole. */
export const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

export type Asked = {
  /** The message as the client wrote it: what is held for approval is bound to every character. */
  line: string;
  id: RequestId;
  headers: Record<string, string>;
  signal: AbortSignal;
  /** The server has the request, and has begun to answer. */
  opened(): void;
  /** A message that comes before the answer. */
  heard(text: string): void | Promise<void>;
  /** The headers with which an answer that was interrupted is asked for again. */
  resume?: Record<string, string>;
};

export type Answer = { status: number; headers: Headers; text: string; message: JsonRpcResponse };

/** Posts one request and waits for its answer. @throws LinkFault or EndpointFault, or the reason of the signal */
export async function ask(link: ServerLink, path: string, asked: Asked): Promise<Answer> {
  const { id, line, signal } = asked;
  const headers = { 'content-type': 'application/json', ...asked.headers };
  const response = await link.send(path, { method: 'POST', headers, body: line, signal });
  asked.opened();
  try {
    if (response.ok && contentType(response.headers) === 'text/event-stream')
      return await answerOnStream(link, path, asked, response);
    const text = await readText(response, MAX_ANSWER_BYTES);
    const value = parseJson(text);
    const parsed = asMessage(value);
    const { status } = response;
    if (parsed?.kind !== 'response') {
      const said = sentenceOf(value, text, contentType(response.headers));
      throw new LinkFault(`Castellan answers HTTP ${status}${said && `: ${said}`}`, true);
    }
    if (parsed.message.id === id) return { status, headers: response.headers, text, message: parsed.message };
    // A refusal before the message was read names no id.
    const message = { ...parsed.message, id } as JsonRpcResponse;
    return { status, headers: response.headers, text: JSON.stringify(message), message };
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof TypeError) throw broken(error.message);
    throw error;
  }
}

async function answerOnStream(
  link: ServerLink,
  path: string,
  { id, heard, resume: headers, signal }: Asked,
  response: Response,
): Promise<Answer> {
  const resume: Resume | undefined = headers && ((lastEventId) => again(lastEventId, headers));
  for await (const { data } of readEvents(response, resume, MAX_ANSWER_BYTES)) {
    const parsed = asMessage(parseJson(data));
    if (parsed?.kind === 'response' && parsed.message.id === id)
      return { status: response.status, headers: response.headers, text: data, message: parsed.message };
    if (parsed) await heard(data);
  }
  throw broken('its stream ended');

  async function again(lastEventId: string, own: Record<string, string>): Promise<Response | undefined> {
    const all = { ...own, accept: 'text/event-stream', 'last-event-id': lastEventId };
    const resumed = await link.send(path, { method: 'GET', headers: all, signal });
    if (resumed.ok && contentType(resumed.headers) === 'text/event-stream') return resumed;
    await resumed.body?.cancel();
    return undefined;
  }
}

function broken(reason: string): LinkFault {
  return new LinkFault(`the connection to Castellan broke before the answer came (${reason})`, true);
}

/** An answer of our own. */
export function failure(id: RequestId | null, error: JsonRpcError): string {
  return JSON.stringify({ jsonrpc: '2.0', id, error } satisfies JsonRpcFailure);
}
