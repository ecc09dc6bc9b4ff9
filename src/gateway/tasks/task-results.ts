import { isObject, type JsonObject } from '../../protocol/jsonrpc.ts';
import type { NeutralOutcome } from '../../protocol/model.ts';
import { canonicalName } from '../../protocol/names.ts';
import { MODERN_REVISION } from '../../protocol/revisions.ts';
import { resultShape } from '../../results/result-rules.ts';
import type { Upstreams } from '../../upstream/upstreams.ts';
import type { LongResults, ShapedTool } from '../long-results.ts';
import type { CallerOnSurface, GatewayRequest, Scope } from '../scope.ts';
import type { TaskRef } from './task-ids.ts';

/** The result of a task goes to its caller as that of any call of its tool. */
export class TaskResults {
  readonly #upstreams: Upstreams;
  readonly #results: LongResults;

  constructor(upstreams: Upstreams, results: LongResults) {
    this.#upstreams = upstreams;
    this.#results = results;
  }

  /** An answer about a task: the result itself, or a state that may hold it. */
  async outcome(from: GatewayRequest, task: TaskRef, outcome: NeutralOutcome): Promise<NeutralOutcome> {
    const tool = this.#toolOf(from.scope, task);
    if (!tool || !outcome.ok) return outcome;
    if (from.request.method === 'tasks/result') return this.#results.shaped(from, tool, outcome);
    const result = await this.#stateOf(from, tool, outcome.result, from.request.envelope.revision);
    return result === outcome.result ? outcome : { ok: true, result };
  }

  /** A state that its caller is told of; undefined where it stays as it is. */
  told(to: CallerOnSurface, task: TaskRef, state: JsonObject): Promise<JsonObject> | undefined {
    const tool = isObject(state.result) ? this.#toolOf(to.scope, task) : undefined;
    return tool && this.#stateOf(to, tool, state, MODERN_REVISION);
  }

  async #stateOf(
    { caller, scope }: CallerOnSurface,
    tool: ShapedTool,
    state: JsonObject,
    revision: string,
  ): Promise<JsonObject> {
    if (!isObject(state.result)) return state;
    const result = await this.#results.result({ caller, scope, revision }, tool, state.result);
    return result === state.result ? state : { ...state, result };
  }

  #toolOf({ project }: Scope, { server, tool }: TaskRef): ShapedTool | undefined {
    const spec = this.#upstreams.get(server)?.spec;
    const shape = spec && resultShape(spec.tools.results, tool, project.spec.results.maxBytes);
    return shape && { canonical: canonicalName(server, tool), server, shape };
  }
}
