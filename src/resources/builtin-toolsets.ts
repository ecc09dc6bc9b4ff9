import type { Surface } from './spec.ts';

type BuiltinToolset = { surface: Surface; tools: readonly string[] };

const TICKETS: BuiltinToolset = {
  surface: 'operator',
  tools: [
    'create_ticket',
    'get_ticket',
    'list_tickets',
    'add_ticket_comment',
    'file_followup',
    'handler_respond_ticket',
    'user_confirm_resolution',
    'user_cancel_ticket',
    'user_change_ticket_status',
  ],
};

const APPROVALS: BuiltinToolset = {
  surface: 'operator',
  tools: ['approval_list', 'approval_get', 'approval_approve', 'approval_reject'],
};

const REVIEW: BuiltinToolset = {
  surface: 'operator',
  tools: [
    'browse_codebase',
    'outline',
    'list_code_files',
    'find_definition',
    'find_references',
    'read_code',
    'search_code',
    'git_log',
    'git_diff',
    'git_show_commit',
    'git_file_history',
  ],
};

/**
 * What `Server.spec.builtin` may name: the surface that each toolset is on, and its tools. A start fails when a
 * registered toolset has a tool that stands here on no surface or on both.
 */
export const BUILTIN_TOOLSETS: ReadonlyMap<string, BuiltinToolset> = new Map([
  ['tickets', TICKETS],
  ['approvals', APPROVALS],
  ['review', REVIEW],
]);

/** Castellan's own tools: they belong to no server, and no tool of a server may have one of these names. */
export const OWN_TOOLS = ['mcp', 'begin_session', 'read_result', 'status'] as const;
