import {
  asMessage,
  isObject,
  type JsonRpcMessage,
  type JsonRpcRequest,
  type JsonRpcResponse,
} from '../../protocol/jsonrpc.ts';
import { cleanLine } from '../terminal.ts';
import { EndpointFault, transportFault } from './endpoint-fault.ts';
import { type Resume, readEvents } from './event-stream.ts';

const MAX_BODY_BYTES = 16 * 1024 * 1024;
const MAX_ERROR_BYTES = 64 * 1024;

/** The whole run shares one deadline, so that a slow endpoint costs what `--timeout` says and no more. */
export type Deadline = { readonly signal: AbortSignal; readonly timeoutMs: number };

export type HttpTarget = { url: URL; token: string | undefined; deadline: Deadline };

export type Reply = {
  status: number;
  headers: Headers;
  /** The JSON-RPC answer in the body, a failure of an HTTP error included; undefined when there was none. */
  answer: JsonRpcResponse | undefined;
  /** One line of a body that is no JSON-RPC. */
  text: string;
};

/** What may arrive on an answer's stream before the answer. */
export type OnMessage = (message: JsonRpcMessage) => void;

/** One request without a body, headers only read; the body is discarded. */
export async function probeStatus(url: URL, deadline: Deadline): Promise<number> {
  try {
    const response = await fetch(url, { redirect: 'manual', signal: deadline.signal });
    await response.body?.cancel();
    return response.status;
  } catch (error) {
    throw transportFault(url, error, deadline.timeoutMs);
  }
}

export function authorization(token: string | undefined): Record<string, string> {
  return token === undefined ? {} : { authorization: `Bearer ${token}` };
}

/** Posts one message. Faults on 401, 403, redirects and 5xx; any other status is the caller's to judge. */
export async function post(
  target: HttpTarget,
  message: JsonRpcMessage,
  headers: Record<string, string>,
  onMessage: OnMessage,
): Promise<Reply> {
  const { url, token, deadline } = target;
  try {
    const response = await fetch(url, {
      method: 'POST',
      redirect: 'manual',
      signal: deadline.signal,
      headers: {
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        ...authorization(token),
        ...headers,
      },
      body: JSON.stringify(message),
    });
    const request = 'method' in message && 'id' in message ? message : undefined;
    const resume = (lastEventId: string) => resumeStream(target, headers, lastEventId);
    const reply = await readReply(response, request, onMessage, resume);
    refuseStatus(url, token, reply);
    return reply;
  } catch (error) {
    throw transportFault(url, error, deadline.timeoutMs);
  }
}

async function readReply(
  response: Response,
  request: JsonRpcRequest | undefined,
  onMessage: OnMessage,
  resume: Resume,
): Promise<Reply> {
  const { status, headers } = response;
  const type = contentType(headers);
  if (status >= 200 && status < 300 && type === 'text/event-stream' && request) {
    return {
      status,
      headers,
      answer: await answerOnStream(response, request.id, onMessage, resume),
      text: '',
    };
  }
  const body = await readText(response, response.ok ? MAX_BODY_BYTES : MAX_ERROR_BYTES);
  const parsed = parseJson(body);
  const message = asMessage(parsed);
  if (message?.kind === 'response') return { status, headers, answer: message.message, text: '' };
  return { status, headers, answer: undefined, text: sentenceOf(parsed, body, type) };
}

/** Opens an interrupted answer again; a modern endpoint's is lost and has no id to resume after. */
async function resumeStream(
  { url, token, deadline }: HttpTarget,
  headers: Record<string, string>,
  lastEventId: string,
): Promise<Response | undefined> {
  const accept = { accept: 'text/event-stream', 'last-event-id': lastEventId };
  const response = await fetch(url, {
    redirect: 'manual',
    signal: deadline.signal,
    headers: { ...headers, ...accept, ...authorization(token) },
  });
  if (response.ok && contentType(response.headers) === 'text/event-stream') return response;
  await response.body?.cancel();
  return undefined;
}

async function answerOnStream(
  response: Response,
  id: unknown,
  onMessage: OnMessage,
  resume: Resume,
): Promise<JsonRpcResponse> {
  for await (const { data } of readEvents(response, resume)) {
    const message = asMessage(parseJson(data));
    if (message === undefined) {
      if (data.trim() === '') continue;
      throw new EndpointFault(
        'transport',
        `an event on its stream is no JSON-RPC message: ${cleanLine(data, 120)}`,
      );
    }
    if (message.kind === 'response' && message.message.id === id) {
      return message.message;
    }
    onMessage(message.message);
  }
  throw new EndpointFault('transport', 'its event stream ended before the answer came');
}

/** Statuses that no later step could make sense of. */
function refuseStatus(url: URL, token: string | undefined, reply: Reply): void {
  const { status } = reply;
  const said = reply.answer && 'error' in reply.answer ? cleanLine(reply.answer.error.message) : reply.text;
  const tail = said ? `: ${said}` : '';
  if (status === 401) {
    const fix =
      token === undefined
        ? 'it asks for a token: set CASTELLAN_TOKEN or pass --token'
        : 'it does not accept this token';
    throw new EndpointFault(
      'auth',
      `HTTP 401 Unauthorized from ${url.href}, ${fix}${challenge(reply.headers) || tail}`,
      401,
    );
  }
  if (status === 403) {
    const fix =
      token === undefined
        ? 'it does not serve callers without a token'
        : 'this token may not use this endpoint';
    throw new EndpointFault(
      'auth',
      `HTTP 403 Forbidden from ${url.href}, ${fix}${tail || challenge(reply.headers)}`,
      403,
    );
  }
  if (status >= 300 && status < 400) {
    const to = cleanLine(reply.headers.get('location') ?? 'nowhere');
    throw new EndpointFault(
      'transport',
      `HTTP ${status}: it redirects to ${to}; test that URL, a token is not carried along`,
      status,
    );
  }
  if (status === 429 || status >= 500)
    throw new EndpointFault('transport', `HTTP ${status} from ${url.href}${tail}`, status);
}

function challenge(headers: Headers): string {
  const description = /error_description="([^"]*)"/.exec(headers.get('www-authenticate') ?? '')?.[1];
  return description ? `: ${cleanLine(description)}` : '';
}

export function contentType(headers: Headers): string {
  return (headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

export async function readText(response: Response, maxBytes: number): Promise<string> {
  if (!response.body) return '';
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for await (const chunk of response.body) {
    bytes += chunk.byteLength;
    if (bytes > maxBytes) {
      if (!response.ok) return text;
      throw new EndpointFault('transport', `its answer is larger than ${maxBytes / 1024 / 1024} MiB`);
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What a body that is no JSON-RPC says, on one line. */
export function sentenceOf(parsed: unknown, body: string, type: string): string {
  if (isObject(parsed)) {
    const error = isObject(parsed.error) ? parsed.error.message : parsed.error;
    const told = parsed.error_description ?? parsed.message ?? error;
    if (typeof told === 'string') return cleanLine(told, 300);
  }
  if (type === 'text/html') return 'the body is an HTML page';
  return cleanLine(body, 200);
}

/** The refusal that a client without capabilities gives to a server's request; `ping` alone gets an answer. */
export function answerTo(request: JsonRpcRequest): JsonRpcResponse {
  if (request.method === 'ping') return { jsonrpc: '2.0', id: request.id, result: {} };
  const message = `castellan test declares no capability for ${cleanLine(request.method, 80)}`;
  return { jsonrpc: '2.0', id: request.id, error: { code: -32601, message } };
}
