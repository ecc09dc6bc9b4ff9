import { z } from 'zod';
import { APPROVAL_STATES, type Approval } from '../../approvals/approval.ts';
import { APPROVAL_VIEW, approvalView } from '../../approvals/approval-view.ts';
import type { Approvals } from '../../approvals/approvals.ts';
import type { Decider } from '../../approvals/deciders.ts';
import { Refusal, type RefusalKind } from '../../base/errors.ts';
import type { ToolRefusalCode } from '../../gateway/refusals.ts';
import { type Toolset, type ToolsetAnswer, type ToolsetCall, toolsetTool } from '../../gateway/toolset.ts';
import { keysOnly } from '../../resources/problems.ts';

const ID = 'apr_0123456789ABCDEFGHIJkl';
const IDS = 'approval_id is what approval_list or the refusal of a held call gave, of this project';
const MAX_REASON = 500;
const MAX_LISTED = 100;

const INSTRUCTIONS = `Calls of tools that a policy holds until somebody decides. Deciding needs the right to approve in
this project, and nobody decides on a call of their own owner: neither the credential that asked nor another one of the
same user. Approving makes the call, once. Read every argument with approval_get before you decide.`;

const approvalId = z.string().min(1).max(80).describe('As in apr_…');
const Answered = { message: z.string().describe('One sentence.') };
const OneApproval = z.object({ ...Answered, approval: APPROVAL_VIEW });
/** The same, told once: whoever lists the tools reads every schema. */
const Decided = z.object({
  ...Answered,
  approval: z
    .looseObject({ id: z.string(), state: z.enum(APPROVAL_STATES) })
    .describe('The whole approval, as approval_get describes it.'),
});

/** Decisions for agents of somebody else than whoever asked. What comes through here is never a human act. */
export function approvalsToolset(approvals: Approvals): Toolset {
  return {
    name: 'approvals',
    instructions: INSTRUCTIONS.replaceAll('\n', ' '),
    tools: [listTool(approvals), getTool(approvals), ...decisionTools(approvals)],
  };
}

function listTool(approvals: Approvals) {
  return toolsetTool({
    name: 'approval_list',
    title: 'List approvals',
    doc: {
      does: 'Lists held calls of this project that you may see, the newest first',
      when: 'somebody wants to know what waits for a decision, or what was decided',
      example: { state: 'pending' },
      returns: 'approvals, each as approval_get shows it, and how many there are',
      next: 'approval_get for the one to decide on',
      ids: 'takes none',
    },
    input: keysOnly({
      state: z.enum(APPROVAL_STATES).optional().describe('Only those in this state.'),
      limit: z.int().min(1).max(MAX_LISTED).default(20),
    }),
    output: z.object({ ...Answered, count: z.int(), approvals: z.array(APPROVAL_VIEW) }),
    readOnly: true,
    run: async ({ state, limit }, { caller, scope }) => {
      const found = await approvals.list(caller, { project: scope.project.name, state, limit });
      const shown = found.filter(({ project }) => project.uid === scope.project.uid).map(approvalView);
      const what = state === undefined ? 'approvals' : `approvals that are ${state}`;
      const message = `There are ${shown.length} ${what}${shown.length === limit ? ', or more' : ''}.`;
      return { ok: true, structured: { message, count: shown.length, approvals: shown } };
    },
  });
}

function getTool(approvals: Approvals) {
  return toolsetTool({
    name: 'approval_get',
    title: 'Show an approval',
    doc: {
      does: 'Shows a held call with who asked for it, every argument, and where it stands',
      when: 'you are about to decide on it, or want to know what became of it',
      example: { approval_id: ID },
      returns: 'the approval; arguments is exactly what is sent',
      next: 'approval_approve or approval_reject, while it is pending',
      ids: IDS,
    },
    input: keysOnly({ approval_id: approvalId }),
    output: OneApproval,
    readOnly: true,
    run: ({ approval_id: id }, call) =>
      answered(async () => {
        const approval = await ofProject(approvals, id, call);
        return told(approval, `${approval.tool} is ${approval.state}.`);
      }),
  });
}

function decisionTools(approvals: Approvals) {
  const approve = toolsetTool({
    name: 'approval_approve',
    title: 'Approve a held call',
    doc: {
      does: 'Has a held call made, once, and waits for its end',
      when: 'you have read all of its arguments and it should happen',
      example: { approval_id: ID },
      returns:
        'the approval as it is now; state failed, marked as an error, where the call was made and failed',
      next: 'nothing; the caller gets the outcome by calling again',
      ids: IDS,
    },
    input: keysOnly({ approval_id: approvalId }),
    output: Decided,
    readOnly: false,
    run: ({ approval_id: id }, call) =>
      answered(async () => {
        await ofProject(approvals, id, call);
        const approval = await approvals.approve(id, deciderOf(call));
        const { state } = approval;
        const answer = told(approval, `${approval.tool} was approved and is ${state}.`);
        return state === 'failed' || state === 'unknown' ? { ...answer, isError: true } : answer;
      }),
  });
  const reject = toolsetTool({
    name: 'approval_reject',
    title: 'Reject a held call',
    doc: {
      does: 'Refuses a held call, which is then never made',
      when: 'it should not happen',
      example: { approval_id: ID, reason: 'the branch is still in use' },
      returns: 'the approval as it is now',
      next: 'nothing; the caller reads the reason',
      ids: IDS,
    },
    input: keysOnly({
      approval_id: approvalId,
      reason: z.string().min(1).max(MAX_REASON).optional().describe('Said to whoever called.'),
    }),
    output: Decided,
    readOnly: false,
    run: ({ approval_id: id, reason }, call) =>
      answered(async () => {
        await ofProject(approvals, id, call);
        const approval = await approvals.reject(id, deciderOf(call), reason);
        return told(approval, `${approval.tool} was rejected and is not made.`);
      }),
  });
  return [approve, reject];
}

/** @throws Refusal `not_found` where it is another project's */
async function ofProject(
  approvals: Approvals,
  id: string,
  { caller, scope }: ToolsetCall,
): Promise<Approval> {
  const approval = await approvals.get(id, caller);
  if (approval.project.uid === scope.project.uid) return approval;
  throw new Refusal('not_found', `there is no approval ${id} that you may see`);
}

function deciderOf({ caller }: ToolsetCall): Decider {
  return { caller, way: 'mcp', fresh: false };
}

function told(approval: Approval, message: string): ToolsetAnswer & { ok: true } {
  return { ok: true, structured: { message, approval: approvalView(approval) } };
}

const CODES: { readonly [kind in RefusalKind]?: ToolRefusalCode } = {
  not_found: 'NOT_FOUND',
  forbidden: 'NOT_PERMITTED',
  conflict: 'CONFLICT',
};

async function answered(work: () => Promise<ToolsetAnswer>): Promise<ToolsetAnswer> {
  try {
    return await work();
  } catch (error) {
    const code = error instanceof Refusal ? CODES[error.kind] : undefined;
    if (code === undefined) throw error;
    return { ok: false, code, message: `${(error as Refusal).message}.`, field: 'approval_id' };
  }
}
