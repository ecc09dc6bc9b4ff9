import { APPROVAL_STATES, type Approval } from '../../approvals/approval.ts';
import { approvalView, isApprovalState, toldApprovalView } from '../../approvals/approval-view.ts';
import type { Approvals } from '../../approvals/approvals.ts';
import { type Decider, wayAtApi } from '../../approvals/deciders.ts';
import { Refusal } from '../../base/errors.ts';
import { type ApiContext, jsonObject } from './responses.ts';
import { type Route, refuseOutside } from './route.ts';

type Deps = { approvals: Approvals };

const MAX_REASON = 500;
const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 200;

/** `/approvals`: the calls that wait for a decision, those that were decided, and the decisions. */
export function approvalRoutes({ approvals }: Deps): Route[] {
  return [
    {
      method: 'GET',
      path: '/approvals',
      need: 'credential',
      doc: {
        summary: 'List the approvals that you may see, the newest first',
        query: {
          project: { description: 'Only those of this project.' },
          state: { description: `One of ${APPROVAL_STATES.join(', ')}.` },
          limit: { description: `How many, up to ${MAX_LIMIT}.` },
        },
        answer: 'ApprovalList',
      },
      handle: async (c) => {
        const caller = c.get('caller');
        const project = c.req.query('project');
        if (project !== undefined) refuseOutside(caller, project);
        const filter = { project, state: stateOf(c), limit: limitOf(c) };
        const items = (await approvals.list(caller, filter)).map(approvalView);
        return c.json({ items });
      },
    },
    {
      method: 'GET',
      path: '/approvals/:id',
      need: 'credential',
      doc: { summary: 'Show an approval, and what was told of it', answer: 'ToldApproval' },
      handle: async (c) => {
        const approval = await approvals.get(idOf(c), c.get('caller'));
        return c.json(toldApprovalView(approval, await approvals.notices(approval)));
      },
    },
    {
      method: 'POST',
      path: '/approvals/:id/approve',
      need: 'credential',
      doc: { summary: 'Let the call be made, and wait for what becomes of it', answer: 'Approval' },
      handle: async (c) => shown(c, await approvals.approve(idOf(c), deciderOf(c))),
    },
    {
      method: 'POST',
      path: '/approvals/:id/reject',
      need: 'credential',
      doc: { summary: 'Refuse the call', body: 'ApprovalReason', answer: 'Approval' },
      handle: async (c) => shown(c, await approvals.reject(idOf(c), deciderOf(c), await reasonOf(c))),
    },
    {
      method: 'POST',
      path: '/approvals/:id/decide',
      need: 'credential',
      doc: {
        summary: 'Approve or reject as a program, which no credential makes an act of a person',
        body: 'ApprovalDecision',
        answer: 'Approval',
      },
      handle: async (c) => {
        const decider: Decider = { caller: c.get('caller'), way: 'mcp', fresh: false };
        const { decision, reason } = await decisionIn(c);
        const decided =
          decision === 'approve'
            ? await approvals.approve(idOf(c), decider)
            : await approvals.reject(idOf(c), decider, reason);
        return shown(c, decided);
      },
    },
    {
      method: 'POST',
      path: '/approvals/:id/cancel',
      need: 'credential',
      doc: { summary: 'Take a call back that waits', body: 'ApprovalReason', answer: 'Approval' },
      handle: async (c) => shown(c, await approvals.cancel(idOf(c), deciderOf(c), await reasonOf(c))),
    },
    {
      method: 'POST',
      path: '/approvals/:id/resolve',
      need: 'credential',
      doc: {
        summary: 'Say how a call ended of which nobody knows',
        body: 'ApprovalResolution',
        answer: 'Approval',
      },
      handle: async (c) => shown(c, await approvals.resolve(idOf(c), deciderOf(c), await outcomeIn(c))),
    },
  ];
}

function shown(c: ApiContext, approval: Approval): Response {
  return c.json(approvalView(approval));
}

function idOf(c: ApiContext): string {
  return c.req.param('id') ?? '';
}

/** A person decides here with the credential of the data directory alone; every other one is a program's. */
function deciderOf(c: ApiContext): Decider {
  const caller = c.get('caller');
  return { caller, way: wayAtApi(caller), fresh: false };
}

async function reasonOf(c: ApiContext): Promise<string | undefined> {
  if (c.req.header('content-type') === undefined) return undefined;
  return checkedReason((await jsonObject(c)).reason);
}

async function decisionIn(
  c: ApiContext,
): Promise<{ decision: 'approve' | 'reject'; reason: string | undefined }> {
  const { decision, reason } = await jsonObject(c);
  if (decision === 'reject') return { decision, reason: checkedReason(reason) };
  if (decision !== 'approve') throw new Refusal('invalid', 'decision: must be approve or reject');
  if (reason === undefined) return { decision, reason };
  throw new Refusal('invalid', 'reason: is said to whoever is rejected; leave it out');
}

function checkedReason(reason: unknown): string | undefined {
  if (reason === undefined || reason === '') return undefined;
  if (typeof reason === 'string' && reason.length <= MAX_REASON) return reason;
  throw new Refusal('invalid', `reason: must be text of at most ${MAX_REASON} characters`);
}

async function outcomeIn(c: ApiContext): Promise<'succeeded' | 'failed'> {
  const { outcome } = await jsonObject(c);
  if (outcome === 'succeeded' || outcome === 'failed') return outcome;
  throw new Refusal('invalid', 'outcome: must be succeeded or failed');
}

function stateOf(c: ApiContext): string | undefined {
  const state = c.req.query('state');
  if (state === undefined || isApprovalState(state)) return state;
  throw new Refusal('invalid', `state: must be one of ${APPROVAL_STATES.join(', ')}`);
}

function limitOf(c: ApiContext): number {
  const text = c.req.query('limit') ?? String(DEFAULT_LIMIT);
  const limit = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (limit >= 1 && limit <= MAX_LIMIT) return limit;
  throw new Refusal('invalid', `limit: must be a number from 1 to ${MAX_LIMIT}`);
}
