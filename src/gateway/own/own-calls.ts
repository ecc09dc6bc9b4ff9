import { isObject, type JsonObject } from '../../protocol/jsonrpc.ts';
import { unannounced } from '../call-record.ts';
import type { Gates } from '../gates.ts';
import { asToolResult, type CallRefusal, toolRefused } from '../refusals.ts';
import type { GatewayRequest } from '../scope.ts';
import type { GatewayOutcome } from '../tool-call.ts';
import { argumentFault, resultOf } from '../toolset-answers.ts';
import type { InnerCall, OwnTool } from './own-tool.ts';

/** Makes a call as if it had come by itself. */
type CallTool = (from: GatewayRequest) => GatewayOutcome | Promise<GatewayOutcome>;

/** Calls of Castellan's own tools. One that is really the call of another goes the way of that from its very beginning. */
export class OwnCalls {
  readonly #gates: Pick<Gates, 'frozen' | 'enter'>;

  constructor(gates: Pick<Gates, 'frozen' | 'enter'>) {
    this.#gates = gates;
  }

  answer(tool: OwnTool, from: GatewayRequest, callTool: CallTool): ReturnType<CallTool> {
    // Models leave arguments out, or write null for none.
    const given = from.request.params.arguments ?? {};
    const parsed = isObject(given) ? tool.input.safeParse(given) : undefined;
    const inner = parsed?.success ? tool.inner?.(parsed.data) : undefined;
    return inner ? callTool(innerOf(from, inner)) : this.#answerHere(tool, from, given, parsed?.data);
  }

  async #answerHere(
    tool: OwnTool,
    from: GatewayRequest,
    given: unknown,
    args: JsonObject | undefined,
  ): Promise<GatewayOutcome> {
    from.record?.foundHere(tool);
    const stopped = this.#gates.frozen(from);
    if (stopped) return refused(tool, stopped);
    const place = this.#gates.enter(from);
    if (place && 'refusal' in place) return refused(tool, place.refusal);
    try {
      if (!isObject(given)) return refused(tool, toolRefused('INVALID_ARGUMENT', noObject(tool, given)));
      const silenced = args && tool.changes?.(args) ? await unannounced(from) : undefined;
      if (silenced) return refused(tool, silenced);
      from.record?.answeredHere();
      const answer = args ? await tool.run(args, from) : argumentFault(tool, given);
      if (!answer.ok) from.record?.undone();
      return { ok: true, result: resultOf(answer, tool.output !== undefined) };
    } finally {
      place?.release();
    }
  }
}

/** What comes with the call beside its arguments (answers, progress, trace) is the inner call's. */
function innerOf(from: GatewayRequest, inner: InnerCall): GatewayRequest {
  const params: JsonObject = { ...from.request.params, ...inner };
  // Headers mirror the call as it came, and agreed with that.
  const own: GatewayRequest = { ...from, request: { ...from.request, params }, mirrored: undefined };
  from.record?.becomes(own);
  return own;
}

function refused({ output }: OwnTool, refusal: CallRefusal): GatewayOutcome {
  return { ok: true, result: asToolResult(refusal, output !== undefined) };
}

function noObject({ name, doc }: OwnTool, given: unknown): string {
  const type = Array.isArray(given) ? 'array' : typeof given;
  return `${name} was not run: its arguments must be an object, not ${type === 'array' ? 'an' : 'a'} ${type}. A call looks like ${JSON.stringify(doc.example)}`;
}
