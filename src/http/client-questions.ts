import { randomBytes } from 'node:crypto';
import type { InputAnswers, InputRequest, InputRequests } from '../protocol/input-requests.ts';
import type { JsonObject, JsonRpcError, JsonRpcResponse } from '../protocol/jsonrpc.ts';
import type { Reply } from './reply.ts';

type Asked = { settle(answer: { result: JsonObject } | { error: JsonRpcError }): void };

/** How long a legacy client may take to answer, ms. */
const ANSWER_TIMEOUT_MS = 600_000;
const MAX_OPEN = 10_000;
const CLIENT_GONE = 'the client did not answer';

/**
 * Questions pushed to legacy clients on the stream of the call that caused them; the answers come by POST under the
 * same session and nowhere else.
 */
export class ClientQuestions {
  private readonly open = new Map<string, Asked>();

  /** Asks all and waits for all. A question that stays unanswered counts as answered with an error. */
  async ask(reply: Reply, session: string, requests: InputRequests): Promise<InputAnswers> {
    const results: Record<string, JsonObject> = {};
    const errors: Record<string, JsonRpcError> = {};
    await Promise.all(
      Object.entries(requests).map(async ([key, request]) => {
        const answer = await this.one(reply, session, request);
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
  ): Promise<{ result: JsonObject } | { error: JsonRpcError }> {
    if (this.open.size >= MAX_OPEN) {
      return Promise.resolve({ error: { code: -32603, message: 'too many questions are open' } });
    }
    const id = `castellan-${randomBytes(9).toString('base64url')}`;
    const key = keyOf(session, id);
    return new Promise((resolve) => {
      const settle: Asked['settle'] = (answer) => {
        clearTimeout(timer);
        this.open.delete(key);
        resolve(answer);
      };
      const timer = setTimeout(
        () => settle({ error: { code: -32603, message: CLIENT_GONE } }),
        ANSWER_TIMEOUT_MS,
      );
      timer.unref();
      this.open.set(key, { settle });
      // Asked first: with the stream that this opens it is known whether the client may come back to it.
      reply.request(id, request.method, forLegacy(request, id));
      reply.onLost(() => settle({ error: { code: -32603, message: CLIENT_GONE } }));
    });
  }
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
