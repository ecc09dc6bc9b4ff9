import type { ReplyHead } from '../net/reply.ts';
import { parseMessage } from '../protocol/answer-text.ts';
import { ErrorCode, type RequestId } from '../protocol/jsonrpc.ts';
import { protocolFault, sessionLostFault, statusFault } from './http-faults.ts';
import type { Answer, UpstreamFault } from './transport.ts';

/** The request whose answer is judged. */
export type Asked = {
  server: string;
  id: RequestId;
  /** The legacy session it was sent in; undefined before the handshake and for the modern era. */
  session: { id: string | undefined } | undefined;
};

/** Several implementations answer 400 instead of 404 for a session they forgot, a restarted SDK server among them. */
const FORGOTTEN_SESSION = /session|not initialized/i;

/**
 * Whether a JSON body is the answer. A JSON-RPC error of this request is one whatever the status it rides on. An error
 * without an id is this request's too, for nothing else was asked; but in a legacy session, where errors of HTTP itself
 * look like that, only below 300.
 */
export function judgeBody(asked: Asked, text: string, head: ReplyHead): Answer | UpstreamFault {
  const { status } = head;
  const parsed = parseMessage(text);
  const response = parsed?.kind === 'response' ? parsed.message : undefined;
  if (response?.id === asked.id && status < 300)
    return answer({ message: response, written: parsed?.written }, head);

  const failure = response && 'error' in response ? response : undefined;
  const ours = failure?.id === asked.id;
  if (asked.session?.id !== undefined && (status === 404 || status === 400)) {
    const forgotten =
      status === 404
        ? !(ours && failure.error.code === ErrorCode.methodNotFound)
        : !ours && failure !== undefined && FORGOTTEN_SESSION.test(failure.error.message);
    if (forgotten) return sessionLostFault(asked.server, status);
  }
  if (ours) return answer({ message: failure }, head);
  const unaddressed = failure !== undefined && (failure.id === undefined || failure.id === null);
  if (unaddressed && (status < 300 || (status < 500 && asked.session === undefined))) {
    return answer({ message: failure }, head);
  }
  if (status >= 300) return statusFault(asked.server, head, text);
  const what =
    parsed === undefined ? 'answered with a body that is no JSON-RPC message' : 'answered another request';
  return protocolFault(asked.server, what, status);
}

/** Adds what of the headers belongs to an answer. */
export function answer(found: Answer, head: ReplyHead): Answer {
  if (head.status !== 200) found.status = head.status;
  if (head.sessionId !== undefined) found.sessionId = head.sessionId;
  return found;
}
