import { randomBytes } from 'node:crypto';
import type { Cancellation } from '../base/cancellation.ts';
import type { InputAnswers, InputRequest, InputRequests } from '../protocol/input-requests.ts';
import { ErrorCode, type JsonObject, type JsonRpcError, type JsonRpcResponse } from '../protocol/jsonrpc.ts';
import type { Reply } from './reply.ts';

type Asked = { settle(answer: { result: JsonObject } | { error: JsonRpcError }): void };

/** How long a legacy client may take to answer, ms. */
const ANSWER_TIMEOUT_MS = 600_000;
const MAX_OPEN = 10_000;
/** What one principal may be asked at a time, so that the rest is left for others. */
const MAX_OPEN_EACH = 256;
const TOO_MANY = 'too many questions are open';
const CLIENT_GONE = 'the client did not answer';

/**
 * Questions pushed to legacy clients on the stream of the call that caused them; the answers come by POST under the
 * same session and nowhere else.
 */
export class ClientQuestions {
  private readonly open = new Map<string, Asked>();
  private readonly counts = new Map<string, number>();

  /**
   * Asks all and waits for all. A question that stays unanswered counts as answered with an error; so do all when the
   * call is cancelled.
   */
  async ask(
    reply: Reply,
    session: string,
    requests: InputRequests,
    cancellation: Cancellation,
  ): Promise<InputAnswers> {
    const results: Record<string, JsonObject> = {};
    const errors: Record<string, JsonRpcError> = {};
    await Promise.all(
      Object.entries(requests).map(async ([key, request]) => {
        const answer = await this.one(reply, session, request, cancellation);
        if ('result' in answer) results[key] = answer.result;
        // The modern era knows no error here; of a form or page that fails it says that it was closed.
        else if (request.method === 'elicitation/create') results[key] = { action: 'cancel' };
        else errors[key] = answer.error;
      }),
    );
    return { results, errors };
  }

  /** A client's response. False: nothing was asked under this id in this session. */
  receive(session: string, response: JsonRpcResponse): boolean {
    const asked = this.open.get(keyOf(session, response.id));
    if (!asked) return false;
    asked.settle('result' in response ? { result: response.result } : { error: response.error });
    return true;
  }

  private one(
    reply: Reply,
    session: string,
    request: InputRequest,
    cancellation: Cancellation,
  ): Promise<{ result: JsonObject } | { error: JsonRpcError }> {
    const { principal } = reply;
    const own = this.counts.get(principal) ?? 0;
    if (this.open.size >= MAX_OPEN || own >= MAX_OPEN_EACH) return Promise.resolve(unanswered(TOO_MANY));
    this.counts.set(principal, own + 1);
    const id = `castellan-${randomBytes(9).toString('base64url')}`;
    const key = keyOf(session, id);
    return new Promise((resolve) => {
      const settle: Asked['settle'] = (answer) => {
        if (!this.open.delete(key)) return;
        clearTimeout(timer);
        offCancel();
        const left = (this.counts.get(principal) ?? 1) - 1;
        if (left > 0) this.counts.set(principal, left);
        else this.counts.delete(principal);
        resolve(answer);
      };
      const timer = setTimeout(() => settle(unanswered(CLIENT_GONE)), ANSWER_TIMEOUT_MS);
      timer.unref();
      this.open.set(key, { settle });
      let offCancel = () => {};
      offCancel = cancellation.onCancel((reason) => settle(unanswered(reason)));
      if (!this.open.has(key)) return;
      // Asked first: with the stream that this opens it is known whether the client may come back to it.
      reply.request(id, request.method, forLegacy(request, id));
      reply.onLost(() => settle(unanswered(CLIENT_GONE)));
    });
  }
}

function unanswered(message: string): { error: JsonRpcError } {
  return { error: { code: ErrorCode.internal, message } };
}

/** A legacy client completes a URL elicitation by its id, which the modern form no longer has. */
function forLegacy({ method, params }: InputRequest, id: string): JsonObject | undefined {
  const needsId =
    method === 'elicitation/create' && params?.mode === 'url' && params.elicitationId === undefined;
  return needsId ? { ...params, elicitationId: id } : params;
}

function keyOf(session: string, id: unknown): string {
  return `${session} ${JSON.stringify(id)}`;
}
