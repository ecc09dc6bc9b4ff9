import type { Command } from 'commander';
import type { ExitCode } from './exit.ts';
import type { Terminal } from './terminal.ts';

/** What a command line needs of the world around it. */
export type Outside = {
  terminal: Terminal;
  env: Readonly<Record<string, string | undefined>>;
  /** Ends the process at once, work in flight included. */
  exitNow(code: number): void;
};

export type VerbContext = Outside & {
  /** Sets the exit code of a command that has said everything itself. */
  finish(code: ExitCode): void;
  /** The program with the code of every verb. */
  wholeProgram(): Promise<Command>;
};

/** Adds one verb, with its options and its action, to the program. */
export type DefineVerb = (program: Command, context: VerbContext) => void;

type Verb = { name: string; group: string; summary: string; load: () => Promise<DefineVerb> };

const SERVER = 'Server:';
const RESOURCES = 'Resources:';
const ACCESS = 'Access:';
const TOOLS = 'Tools and upstreams:';
const CLIENTS = 'Clients:';
const OTHER = 'Other:';

/** Every verb, in the order in which help lists them. */
export const verbs: readonly Verb[] = [
  {
    name: 'serve',
    group: SERVER,
    summary: 'run Castellan in the foreground',
    load: async () => (await import('./commands/serve.ts')).defineServe,
  },
  {
    name: 'reload',
    group: SERVER,
    summary: 're-read the configuration files of the running server',
    load: async () => (await import('./commands/reload.ts')).defineReload,
  },
  {
    name: 'get',
    group: RESOURCES,
    summary: 'list resources, or print one',
    load: async () => (await import('./commands/get.ts')).defineGet,
  },
  {
    name: 'describe',
    group: RESOURCES,
    summary: 'show one resource with its live state',
    load: async () => (await import('./commands/describe.ts')).defineDescribe,
  },
  {
    name: 'create',
    group: RESOURCES,
    summary: 'create one resource from flags',
    load: async () => (await import('./commands/create.ts')).defineCreate,
  },
  {
    name: 'apply',
    group: RESOURCES,
    summary: 'create or change resources from files',
    load: async () => (await import('./commands/apply.ts')).defineApply,
  },
  {
    name: 'diff',
    group: RESOURCES,
    summary: 'show what apply would change',
    load: async () => (await import('./commands/diff.ts')).defineDiff,
  },
  {
    name: 'edit',
    group: RESOURCES,
    summary: 'edit one resource in your editor',
    load: async () => (await import('./commands/edit.ts')).defineEdit,
  },
  {
    name: 'delete',
    group: RESOURCES,
    summary: 'delete resources',
    load: async () => (await import('./commands/delete.ts')).defineDelete,
  },
  {
    name: 'revoke',
    group: RESOURCES,
    summary: 'end a token now, keeping its row',
    load: async () => (await import('./commands/revoke.ts')).defineRevoke,
  },
  {
    name: 'rotate',
    group: RESOURCES,
    summary: 'give a token, a client or a user a new secret',
    load: async () => (await import('./commands/rotate.ts')).defineRotate,
  },
  {
    name: 'secret',
    group: RESOURCES,
    summary: 'change the key that secrets are sealed under',
    load: async () => (await import('./commands/secret.ts')).defineSecret,
  },
  {
    name: 'auth',
    group: ACCESS,
    summary: 'ask whether something is allowed, and why',
    load: async () => (await import('./commands/auth.ts')).defineAuth,
  },
  {
    name: 'login',
    group: ACCESS,
    summary: 'sign in at a server, or keep a token for it',
    load: async () => (await import('./commands/login.ts')).defineLogin,
  },
  {
    name: 'logout',
    group: ACCESS,
    summary: 'end the sign-in of a context, or forget its token',
    load: async () => (await import('./commands/login.ts')).defineLogout,
  },
  {
    name: 'context',
    group: ACCESS,
    summary: 'the servers that are known by name',
    load: async () => (await import('./commands/context.ts')).defineContext,
  },
  {
    name: 'whoami',
    group: ACCESS,
    summary: 'print who the server takes you for',
    load: async () => (await import('./commands/whoami.ts')).defineWhoami,
  },
  {
    name: 'call',
    group: TOOLS,
    summary: 'call one tool through the running server',
    load: async () => (await import('./commands/call.ts')).defineCall,
  },
  {
    name: 'mcp',
    group: TOOLS,
    summary: 'upstream servers: list, status, connect, doctor, trust',
    load: async () => (await import('./commands/mcp.ts')).defineMcp,
  },
  {
    name: 'mcp-serve',
    group: CLIENTS,
    summary: 'serve MCP over stdio to the client that starts it',
    load: async () => (await import('./commands/mcp-serve.ts')).defineMcpServe,
  },
  {
    name: 'test',
    group: TOOLS,
    summary: 'test any MCP endpoint from outside',
    load: async () => (await import('./commands/test.ts')).defineTest,
  },
  {
    name: 'policy',
    group: TOOLS,
    summary: 'test what policies say about a call',
    load: async () => (await import('./commands/policy.ts')).definePolicy,
  },
  {
    name: 'approvals',
    group: TOOLS,
    summary: 'calls that wait for a decision: list, approve, reject',
    load: async () => (await import('./commands/approvals.ts')).defineApprovals,
  },
  {
    name: 'accept',
    group: TOOLS,
    summary: 'accept the definition of a tool that is new or has changed',
    load: async () => (await import('./commands/accept.ts')).defineAccept,
  },
  {
    name: 'tickets',
    group: TOOLS,
    summary: 'tickets between agents and people',
    load: async () => (await import('./commands/tickets.ts')).defineTickets,
  },
  {
    name: 'freeze',
    group: TOOLS,
    summary: 'stop all calls of a project, or of everything',
    load: async () => (await import('./commands/freeze.ts')).defineFreeze,
  },
  {
    name: 'unfreeze',
    group: TOOLS,
    summary: 'let stopped calls go on',
    load: async () => (await import('./commands/freeze.ts')).defineUnfreeze,
  },
  {
    name: 'import',
    group: CLIENTS,
    summary: 'take over the servers of another client',
    load: async () => (await import('./commands/import.ts')).defineImport,
  },
  {
    name: 'config',
    group: CLIENTS,
    summary: 'print what a client needs to reach a project',
    load: async () => (await import('./commands/config.ts')).defineConfig,
  },
  {
    name: 'audit',
    group: OTHER,
    summary: 'what happened: query, verify, export',
    load: async () => (await import('./commands/audit.ts')).defineAudit,
  },
  {
    name: 'console',
    group: OTHER,
    summary: 'watch the audit on the terminal',
    load: async () => (await import('./commands/console.ts')).defineConsole,
  },
  {
    name: 'doctor',
    group: OTHER,
    summary: 'look at this machine and the server, and say what is wrong',
    load: async () => (await import('./commands/doctor.ts')).defineDoctor,
  },
  {
    name: 'completion',
    group: OTHER,
    summary: 'print the completion script of a shell',
    load: async () => (await import('./commands/completion.ts')).defineCompletion,
  },
  {
    name: 'version',
    group: OTHER,
    summary: 'print the version of the command line, and of the server if one runs',
    load: async () => (await import('./commands/version.ts')).defineVersion,
  },
];
