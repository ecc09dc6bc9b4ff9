/**
 * How a server's questions reach the caller and the answers get back. The gateway answers in the modern way, with a
 * result of type `input_required`; whoever speaks to a legacy client turns that into pushed requests.
 *
 * The `requestState` that we give out is sealed and bound to the principal, the surface, the request and a time. It
 * carries what is needed to go on: the modern server's own state, or the name of a call that is suspended in this
 * process on a legacy server, or nothing where the request is sent once more. A suspended call is lost with the process;
 * its caller is told to start again.
 */

import { createHash, randomBytes } from 'node:crypto';
import { canonicalJson } from '../base/canonical-json.ts';
import type { Sealer } from '../base/seal.ts';
import { callerKey } from '../identity/caller.ts';
import { embeddable, type InputAnswers, type InputRequests } from '../protocol/input-requests.ts';
import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import type { SuspendedCall } from '../upstream/calls.ts';
import { callerContext, type GatewayRequest } from './scope.ts';

/** How a request goes on that came back with answers. */
export type Continuation =
  | { kind: 'fresh' }
  | { kind: 'upstream'; state: string | undefined; answers: InputAnswers }
  | { kind: 'again'; answers: InputAnswers }
  | { kind: 'suspended'; call: SuspendedCall; answers: InputAnswers };

type Sealed = { k: 'u' | 's' | 'a'; s: string; t?: string; h?: string; d: string; e: number; n: string };
type Parked = { call: SuspendedCall; nonce: string; principal: string };

const PURPOSE = 'request-state';
const LIFETIME_MS = 600_000;
const MAX_PARKED = 2_000;
const MAX_PARKED_PER_PRINCIPAL = 100;

/** `tasks/result` is where a legacy server asks what it needs for a task; the later revision has no such method. */
const METHODS = new Set(['tools/call', 'prompts/get', 'resources/read', 'tasks/result']);

export class Interactions {
  private readonly sealer: Sealer;
  private readonly parked = new Map<string, Parked>();

  constructor(sealer: Sealer) {
    this.sealer = sealer;
  }

  /** Whether a server may ask something during this method (2026-07-28 basic/patterns/mrtr#supported-requests). */
  mayAsk(method: string): boolean {
    return METHODS.has(method);
  }

  /** What a returning request goes on with; the sentence of the refusal when its state is not ours, or not its own. */
  resume(from: GatewayRequest, server: string): Continuation | { refused: string } {
    const { requestState } = from.request.params;
    if (requestState === undefined || !this.mayAsk(from.request.method)) return { kind: 'fresh' };
    const sealed = typeof requestState === 'string' ? this.open(from, requestState) : undefined;
    if (!sealed) return { refused: 'params.requestState is not one that was given out for this request' };
    if (sealed.e <= Date.now()) return { refused: 'params.requestState has expired: start again without it' };
    if (sealed.s !== server) {
      return { refused: 'params.requestState belongs to another server: start again without it' };
    }
    const answers = answersOf(from);
    if (sealed.k === 'a') return { kind: 'again', answers };
    if (sealed.k === 'u') return { kind: 'upstream', state: sealed.t, answers };
    const parked = this.parked.get(sealed.h ?? '');
    if (!parked || parked.nonce !== sealed.n) {
      return { refused: 'The call that was waiting for this answer is gone or went on already: start again' };
    }
    this.parked.delete(sealed.h!);
    return { kind: 'suspended', call: parked.call, answers };
  }

  /** A modern server's questions, under a state of ours around its own. */
  asked(
    from: GatewayRequest,
    server: string,
    requests: InputRequests,
    state: string | undefined,
  ): JsonObject {
    const sealed: Sealed = { k: 'u', s: server, d: digestOf(from), e: Date.now() + LIFETIME_MS, n: nonce() };
    if (state !== undefined) sealed.t = state;
    return this.result(from, requests, sealed);
  }

  /** What has to be done before the same request can be sent to the server once more. */
  before(from: GatewayRequest, server: string, requests: InputRequests): JsonObject {
    const sealed: Sealed = { k: 'a', s: server, d: digestOf(from), e: Date.now() + LIFETIME_MS, n: nonce() };
    return this.result(from, requests, sealed);
  }

  /** A legacy server's questions; undefined when this principal has too many calls waiting. */
  park(from: GatewayRequest, server: string, call: SuspendedCall): JsonObject | undefined {
    const principal = callerKey(from.caller);
    let own = 0;
    for (const one of this.parked.values()) if (one.principal === principal) own += 1;
    if (this.parked.size >= MAX_PARKED || own >= MAX_PARKED_PER_PRINCIPAL) return undefined;
    const handle = randomBytes(16).toString('base64url');
    const parked: Parked = { call, nonce: nonce(), principal };
    this.parked.set(handle, parked);
    call.whenSettled(() => {
      if (this.parked.get(handle) === parked) this.parked.delete(handle);
    });
    const sealed: Sealed = {
      k: 's',
      s: server,
      h: handle,
      d: digestOf(from),
      e: Date.now() + LIFETIME_MS,
      n: parked.nonce,
    };
    return this.result(from, call.requests, sealed);
  }

  private result(from: GatewayRequest, requests: InputRequests, sealed: Sealed): JsonObject {
    const requestState = this.sealer.seal(PURPOSE, JSON.stringify(sealed), callerContext(from));
    const inputRequests = Object.fromEntries(
      Object.entries(requests).map(([key, one]) => [key, embeddable(one)]),
    );
    return Object.keys(requests).length > 0
      ? { resultType: 'input_required', inputRequests, requestState }
      : { resultType: 'input_required', requestState };
  }

  private open(from: GatewayRequest, state: string): Sealed | undefined {
    const opened = this.sealer.open(PURPOSE, state, callerContext(from));
    if (!opened.ok) return undefined;
    const sealed = JSON.parse(opened.value) as Sealed;
    return sealed.d === digestOf(from) ? sealed : undefined;
  }
}

/** The request as its server gets it: the answers and the state, ours taken off. */
export function withoutInputs(params: JsonObject): JsonObject {
  if (!('inputResponses' in params || 'requestState' in params)) return params;
  const { inputResponses: _, requestState: __, ...rest } = params;
  return rest;
}

function answersOf(from: GatewayRequest): InputAnswers {
  const { inputResponses } = from.request.params;
  const results: Record<string, JsonObject> = {};
  if (isObject(inputResponses)) {
    for (const [key, value] of Object.entries(inputResponses)) if (isObject(value)) results[key] = value;
  }
  return { results, errors: from.inputErrors ?? {} };
}

/** The same request, whoever sends it again: method and payload, without envelope and answers. */
function digestOf({ request }: GatewayRequest): string {
  const { _meta, ...payload } = withoutInputs(request.params);
  return createHash('sha256')
    .update(canonicalJson([request.method, payload]))
    .digest('base64url');
}

function nonce(): string {
  return randomBytes(12).toString('base64url');
}
