import type { ApprovalView } from '../../approvals/approval-view.ts';
import { ErrorCode, isObject, type JsonObject, type JsonRpcRequest } from '../../protocol/jsonrpc.ts';
import { parseJson, readText } from '../endpoint/http-exchange.ts';
import { failure } from './exchange.ts';
import { isModern } from './modern-requests.ts';
import type { ServerLink } from './server-link.ts';

const MAX_LIST_BYTES = 64 * 1024 * 1024;
const METHODS = ['approvals/list', 'approvals/get', 'approvals/approve', 'approvals/reject'];
const KNOWN: Readonly<Record<string, readonly string[]>> = {
  'approvals/list': ['project', 'state'],
  'approvals/get': ['id', 'project'],
  'approvals/approve': ['id', 'project'],
  'approvals/reject': ['id', 'project', 'reason'],
};

/** Why a method gives no result. `code` as JSON-RPC has it. */
class MethodFault extends Error {
  readonly code: number;
  readonly data: unknown;

  constructor(code: number, message: string, data?: unknown) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

/**
 * The methods by which older clients decide on held calls, answered from the REST API. A decision here is that of the
 * credential behind the bridge, and by no credential that of a person.
 */
export class ApprovalMethods {
  readonly #link: ServerLink;
  readonly #project: string;

  /** @param project whose approvals are meant where a request names none */
  constructor(link: ServerLink, project: string) {
    this.#link = link;
    this.#project = project;
  }

  has(method: string): boolean {
    return METHODS.includes(method);
  }

  /** The whole answer. @throws LinkFault, or the reason of `signal` */
  async answer(request: JsonRpcRequest, signal: AbortSignal): Promise<string> {
    try {
      const made = await this.#result(request.method, checked(request), signal);
      const result = isModern(request) ? { resultType: 'complete', ...made } : made;
      return JSON.stringify({ jsonrpc: '2.0', id: request.id, result });
    } catch (error) {
      if (!(error instanceof MethodFault)) throw error;
      const { code, message, data } = error;
      return failure(request.id, { code, message, ...(data === undefined ? {} : { data }) });
    }
  }

  async #result(
    method: string,
    params: Record<string, string | undefined>,
    signal: AbortSignal,
  ): Promise<object> {
    const project = params.project ?? this.#project;
    if (method === 'approvals/list') {
      const query = new URLSearchParams({ project, ...(params.state && { state: params.state }) });
      return this.#api('GET', `approvals?${query}`, undefined, signal);
    }
    const id = params.id ?? '';
    const path = `approvals/${encodeURIComponent(id)}`;
    const found = (await this.#api('GET', path, undefined, signal)) as ApprovalView;
    if (found.project !== project)
      throw new MethodFault(ErrorCode.invalidParams, `id: project ${project} has no approval ${id}`);
    if (method === 'approvals/get') return found;
    const decision =
      method === 'approvals/approve'
        ? { decision: 'approve' }
        : { decision: 'reject', reason: params.reason };
    const decided = (await this.#api('POST', `${path}/decide`, decision, signal)) as ApprovalView;
    return { ok: decided.state !== 'failed' && decided.state !== 'unknown', ...decided };
  }

  async #api(
    method: 'GET' | 'POST',
    path: string,
    body: object | undefined,
    signal: AbortSignal,
  ): Promise<JsonObject | ApprovalView> {
    const sent = body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    const response = await this.#link.send(`/api/v1/${path}`, { method, ...sent, signal });
    const value = parseJson(await readText(response, MAX_LIST_BYTES));
    if (response.ok && isObject(value)) return value;
    const error = isObject(value) && isObject(value.error) ? value.error : {};
    const { status } = response;
    const wrong = status === 400 || status === 404;
    // Codes of applications are outside the range of JSON-RPC: those of HTTP say best what is meant.
    throw new MethodFault(
      wrong ? ErrorCode.invalidParams : status,
      String(error.message ?? `Castellan answers HTTP ${status}`),
      { code: error.code ?? 'UNAVAILABLE' },
    );
  }
}

/** @throws MethodFault naming the parameter */
function checked({ method, params = {} }: JsonRpcRequest): Record<string, string | undefined> {
  const known = KNOWN[method] ?? [];
  for (const [name, value] of Object.entries(params)) {
    if (name === '_meta') continue;
    if (!known.includes(name))
      throw new MethodFault(ErrorCode.invalidParams, `${name}: unknown parameter: use ${known.join(', ')}`);
    if (typeof value !== 'string') throw new MethodFault(ErrorCode.invalidParams, `${name}: must be text`);
  }
  if (known.includes('id') && !params.id)
    throw new MethodFault(ErrorCode.invalidParams, 'id: is missing: name the approval, as in apr_…');
  // It becomes part of a path.
  if (known.includes('id') && !/^\w{1,80}$/.test(String(params.id)))
    throw new MethodFault(ErrorCode.invalidParams, 'id: is no id of an approval, as in apr_…');
  return params as Record<string, string | undefined>;
}
