import type { Gateway } from '../gateway/gateway.ts';
import type { GatewayRequest } from '../gateway/scope.ts';
import type { LegacySession } from '../gateway/sessions.ts';
import type { GatewayOutcome } from '../gateway/tool-call.ts';
import { asInputRequests } from '../protocol/input-requests.ts';
import { ErrorCode, type JsonRpcResponse } from '../protocol/jsonrpc.ts';
import type { Admission, Admitted } from './admission.ts';
import { ClientQuestions } from './client-questions.ts';
import type { Reply } from './reply.ts';

/** A server that keeps asking is told no in the end. */
const MAX_ROUNDS = 10;

/** A call of a legacy client whose server wants to know something first: asked by pushed requests until it is told. */
export class Dialogue {
  private readonly gateway: Gateway;
  private readonly admission: Admission;
  private readonly questions = new ClientQuestions();

  constructor(gateway: Gateway, admission: Admission) {
    this.gateway = gateway;
    this.admission = admission;
  }

  /** A client's answer to one of the questions. */
  receive(session: LegacySession, response: JsonRpcResponse): void {
    this.questions.receive(session.handle, response);
  }

  /** What comes of the call in the end, as a legacy client can be told it. */
  conclude(
    admitted: Admitted,
    from: GatewayRequest,
    reply: Reply,
    session: LegacySession | undefined,
    first: GatewayOutcome,
  ): GatewayOutcome | Promise<GatewayOutcome> {
    return asksForInput(first)
      ? this.ask(admitted, from, reply, session, first).then((last) => withoutCapability(from, last))
      : withoutCapability(from, first);
  }

  private async ask(
    admitted: Admitted,
    from: GatewayRequest,
    reply: Reply,
    session: LegacySession | undefined,
    first: GatewayOutcome,
  ): Promise<GatewayOutcome> {
    const { params } = from.request;
    let outcome = first;
    for (let round = 0; asksForInput(outcome); round += 1) {
      const { inputRequests, requestState } = outcome.result;
      if (!session || !reply.canAsk || round >= MAX_ROUNDS) return cannotBeAsked(from, round);
      const requests = asInputRequests(inputRequests) ?? {};
      const answers = await this.questions.ask(reply, session.handle, requests, from.cancellation);
      const request = {
        ...from.request,
        params: { ...params, inputResponses: answers.results, requestState },
      };
      const now = await this.admission.again(admitted);
      if (typeof now === 'string') return cannotBeAsked(from, 0, now);
      outcome = await this.gateway.handle({ ...from, ...now, request, inputErrors: answers.errors });
    }
    return outcome;
  }
}

function asksForInput(outcome: GatewayOutcome): outcome is GatewayOutcome & { ok: true } {
  return outcome.ok && outcome.result.resultType === 'input_required';
}

/** A legacy client is told in its own way that it lacks what the server needs. */
function withoutCapability(from: GatewayRequest, outcome: GatewayOutcome): GatewayOutcome {
  return outcome.ok || outcome.error.code !== ErrorCode.missingClientCapability
    ? outcome
    : cannotBeAsked(from, 0, outcome.error.message);
}

/** A server needs an answer that this client cannot give. */
function cannotBeAsked(from: GatewayRequest, rounds: number, reason?: string): GatewayOutcome {
  const message =
    reason ??
    (rounds > 0
      ? `The server asked ${rounds} times and still wants to know more`
      : 'The server needs to ask something, and this client has opened no session and stream on which it could');
  return from.request.method === 'tools/call'
    ? { ok: true, result: { content: [{ type: 'text', text: message }], isError: true } }
    : { ok: false, error: { code: ErrorCode.internal, message } };
}
