import type { ApprovalView } from '../approvals/approval-view.ts';
import type { RecordedEvent } from '../audit/row.ts';
import type { GrantView } from '../http/api/grant-routes.ts';
import type { ServerStatus, ToolView } from '../http/api/live.ts';
import type { SessionView } from '../http/api/session-routes.ts';
import type { TokenObject } from '../http/api/token-objects.ts';
import { type Binding, bindingText } from '../resources/bindings.ts';
import type { KindName } from '../resources/kinds.ts';
import type { ResourceObject } from '../resources/objects.ts';
import type { Subject } from '../resources/spec.ts';
import type { TicketSummary } from '../toolsets/tickets/ticket.ts';
import { ageOf, type Column, type Printing } from './output.ts';
import { stateText } from './tool-text.ts';
import { writtenForm } from './written-form.ts';

export type AnyObject = ResourceObject | TokenObject;

const labelsText = (labels: Readonly<Record<string, string>> = {}): string | undefined =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(',') || undefined;

const list = (value: unknown): string | undefined =>
  Array.isArray(value) && value.length > 0 ? value.join(',') : undefined;

/** `2026-11-20 13:09Z` */
const minute = (time: string | null): string | undefined =>
  time === null ? undefined : `${time.slice(0, 16).replace('T', ' ')}Z`;

/** A server's target on one line; environment and headers, which may hold secrets, stay out of it. */
export function targetText(spec: Readonly<Record<string, unknown>>): string {
  if (typeof spec.url === 'string') return spec.url;
  if (typeof spec.builtin === 'string') return `builtin ${spec.builtin}`;
  return [spec.command, ...(Array.isArray(spec.args) ? spec.args : [])].join(' ');
}

export function typeText(spec: Readonly<Record<string, unknown>>): string {
  if (spec.url !== undefined) return 'http';
  return spec.builtin === undefined ? 'stdio' : 'builtin';
}

/** The columns that every stored kind ends with. */
const MANAGEMENT: readonly Column<ResourceObject>[] = [
  { title: 'MANAGED-BY', value: ({ metadata }) => metadata.managedBy },
  { title: 'AGE', value: ({ metadata }) => ageOf(metadata.createdAt) },
  { title: 'LABELS', value: ({ metadata }) => labelsText(metadata.labels), wide: true },
  { title: 'ID', value: ({ metadata }) => metadata.uid, wide: true },
];

const subjectText = ({ kind, name }: Subject) =>
  kind === 'McpToken' ? `${kind}:${name.slice(0, 12)}…` : `${kind}:${name}`;

export const printings: Readonly<
  { [Kind in Exclude<KindName, 'McpToken'>]: Printing<ResourceObject> } & { McpToken: Printing<TokenObject> }
> = {
  Secret: {
    columns: [
      { title: 'NAME', value: ({ metadata }) => metadata.name },
      { title: 'KEYS', value: ({ spec }) => list(spec.keys) },
      { title: 'UPDATED', value: ({ metadata }) => minute(metadata.updatedAt) },
      ...MANAGEMENT,
    ],
    nameOf: ({ metadata }) => `secret/${metadata.name}`,
    none: 'no secrets',
  },
  Server: {
    columns: [
      { title: 'NAME', value: ({ metadata }) => metadata.name },
      { title: 'TYPE', value: ({ spec }) => typeText(spec) },
      { title: 'TARGET', value: ({ spec }) => targetText(spec) },
      ...MANAGEMENT,
    ],
    nameOf: ({ metadata }) => `server/${metadata.name}`,
    none: 'no servers',
  },
  Project: {
    columns: [
      { title: 'NAME', value: ({ metadata }) => metadata.name },
      { title: 'SERVERS', value: ({ spec }) => list(spec.servers) },
      { title: 'OPERATOR-SERVERS', value: ({ spec }) => list(spec.operatorServers) },
      { title: 'STATUS', value: ({ status }) => status?.state },
      ...MANAGEMENT,
    ],
    nameOf: ({ metadata }) => `project/${metadata.name}`,
    none: 'no projects',
  },
  Policy: {
    columns: [
      { title: 'NAME', value: ({ metadata }) => metadata.name },
      { title: 'PROJECTS', value: ({ spec }) => list(spec.projects) },
      { title: 'RULES', value: ({ spec }) => (Array.isArray(spec.rules) ? spec.rules.length : undefined) },
      { title: 'STATUS', value: ({ status }) => status?.state },
      { title: 'ERROR', value: ({ status }) => status?.error, wide: true },
      ...MANAGEMENT,
    ],
    nameOf: ({ metadata }) => `policy/${metadata.name}`,
    none: 'no policies',
  },
  Group: {
    columns: [
      { title: 'NAME', value: ({ metadata }) => metadata.name },
      { title: 'DESCRIPTION', value: ({ spec }) => spec.description as string | undefined },
      ...MANAGEMENT,
    ],
    nameOf: ({ metadata }) => `group/${metadata.name}`,
    none: 'no groups',
  },
  User: {
    columns: [
      { title: 'NAME', value: ({ metadata }) => metadata.name },
      { title: 'GROUPS', value: ({ spec }) => list(spec.groups) },
      { title: 'STATUS', value: ({ spec }) => (spec.disabled === true ? 'disabled' : 'active') },
      { title: 'DISPLAY-NAME', value: ({ spec }) => spec.displayName as string | undefined, wide: true },
      ...MANAGEMENT,
    ],
    nameOf: ({ metadata }) => `user/${metadata.name}`,
    none: 'no users',
  },
  Rbac: {
    columns: [
      { title: 'NAME', value: ({ metadata }) => metadata.name },
      {
        title: 'SUBJECTS',
        value: ({ spec }) => list((spec.subjects as Subject[] | undefined)?.map(subjectText)),
      },
      {
        title: 'BINDINGS',
        value: ({ spec }) => (spec.roleBindings as Binding[] | undefined)?.map(bindingText).join(' '),
      },
      ...MANAGEMENT,
    ],
    nameOf: ({ metadata }) => `rbac/${metadata.name}`,
    none: 'no rbac objects',
  },
  OAuthClient: {
    columns: [
      { title: 'NAME', value: ({ metadata }) => metadata.name },
      { title: 'USER', value: ({ spec }) => spec.user as string | undefined },
      { title: 'PROJECT', value: ({ spec }) => spec.project as string | undefined },
      { title: 'AUTH', value: ({ spec }) => (spec.tokenEndpointAuthMethod as string | undefined) ?? 'basic' },
      { title: 'AUTO-APPROVE', value: ({ spec }) => (spec.autoApprove === true ? 'yes' : undefined) },
      { title: 'SCOPES', value: ({ spec }) => list(spec.scopes) ?? 'mcp', wide: true },
      { title: 'REDIRECTS', value: ({ spec }) => list(spec.redirectUris), wide: true },
      ...MANAGEMENT,
    ],
    nameOf: ({ metadata }) => `oauthclient/${metadata.name}`,
    none: 'no OAuth clients',
  },
  Repository: {
    columns: [
      { title: 'NAME', value: ({ metadata }) => metadata.name },
      { title: 'PATH', value: ({ spec }) => spec.path as string | undefined },
      { title: 'REFS', value: ({ spec }) => list(spec.refs) ?? '*' },
      { title: 'IGNORE', value: ({ spec }) => list(spec.ignore), wide: true },
      { title: 'DESCRIPTION', value: ({ spec }) => spec.description as string | undefined, wide: true },
      ...MANAGEMENT,
    ],
    nameOf: ({ metadata }) => `repository/${metadata.name}`,
    none: 'no repositories',
  },
  McpToken: {
    columns: [
      { title: 'NAME', value: ({ metadata }) => metadata.name },
      { title: 'PROJECT', value: ({ metadata }) => metadata.project },
      { title: 'PREFIX', value: ({ status }) => status.prefix },
      { title: 'CREATED', value: ({ metadata }) => minute(metadata.createdAt) },
      { title: 'LAST-USED', value: ({ status }) => minute(status.lastUsedAt) ?? 'never' },
      { title: 'EXPIRES', value: ({ status }) => minute(status.expiresAt) ?? 'never' },
      { title: 'STATUS', value: ({ status }) => status.status },
      { title: 'SURFACES', value: ({ spec }) => list(spec.surfaces), wide: true },
      { title: 'OWNER', value: ({ status }) => status.owner, wide: true },
      { title: 'LABELS', value: ({ metadata }) => labelsText(metadata.labels), wide: true },
      { title: 'ID', value: ({ metadata }) => metadata.uid, wide: true },
    ],
    nameOf: ({ metadata }) => `mcptoken/${metadata.name}`,
    none: 'no tokens',
  },
};

export function printingOf(kind: KindName): Printing<AnyObject> {
  // Each printing reads objects of its own kind alone, and a list holds one kind.
  return { ...(printings[kind] as Printing<AnyObject>), yamlOf: writtenForm };
}

export const toolPrinting: Printing<ToolView> = {
  columns: [
    { title: 'CANONICAL', value: (tool) => tool.canonical },
    { title: 'NAME', value: (tool) => tool.name },
    { title: 'SERVER', value: (tool) => tool.server },
    { title: 'SURFACE', value: (tool) => tool.surface },
    { title: 'STATE', value: stateText },
    { title: 'FINGERPRINT', value: (tool) => tool.fingerprint.slice(0, 12) },
    { title: 'FLAGS', value: (tool) => list(tool.flags), wide: true },
    { title: 'DESCRIPTION', value: (tool) => tool.description, wide: true },
  ],
  nameOf: (tool) => `tool/${tool.canonical}`,
  none: 'no tools',
};

export const sessionPrinting: Printing<SessionView> = {
  columns: [
    { title: 'ID', value: ({ id }) => id.slice(0, 40) },
    { title: 'TYPE', value: ({ type }) => type },
    { title: 'USER', value: ({ user }) => user },
    { title: 'TOKEN', value: ({ token }) => token },
    { title: 'PROJECT', value: ({ project }) => project ?? '*' },
    { title: 'SURFACE', value: ({ surface }) => surface },
    { title: 'CLIENT', value: ({ client }) => client },
    { title: 'STREAMS', value: ({ streams }) => streams },
    { title: 'AGE', value: ({ startedAt }) => ageOf(startedAt) },
    { title: 'SEEN', value: ({ lastSeenAt }) => ageOf(lastSeenAt) },
    { title: 'PROTOCOL', value: ({ protocol }) => protocol, wide: true },
  ],
  nameOf: ({ id }) => `session/${id}`,
  none: 'no sessions',
};

export const grantPrinting: Printing<GrantView> = {
  columns: [
    { title: 'ID', value: ({ id }) => id },
    { title: 'USER', value: ({ user }) => user },
    { title: 'CLIENT', value: ({ client }) => client },
    { title: 'PROJECT', value: ({ project }) => project ?? '*' },
    { title: 'SCOPES', value: ({ scopes }) => scopes.join(' ') },
    { title: 'AGE', value: ({ createdAt }) => ageOf(createdAt) },
    { title: 'LAST-USED', value: ({ lastUsedAt }) => ageOf(lastUsedAt ?? undefined) },
    { title: 'CLIENT-NAME', value: ({ clientName }) => clientName, wide: true },
  ],
  nameOf: ({ id }) => `grant/${id}`,
  none: 'no grants',
};

export const approvalPrinting: Printing<ApprovalView> = {
  columns: [
    { title: 'ID', value: ({ id }) => id },
    { title: 'STATE', value: ({ state }) => state },
    { title: 'PROJECT', value: ({ project }) => project },
    { title: 'TOOL', value: ({ tool }) => tool },
    { title: 'USER', value: ({ user }) => user },
    { title: 'TOKEN', value: ({ token }) => token },
    { title: 'AGE', value: ({ requestedAt }) => ageOf(requestedAt) },
    { title: 'EXPIRES', value: ({ expiresAt }) => minute(expiresAt) },
    { title: 'DECIDED-BY', value: ({ decidedBy }) => decidedBy?.slice(0, 40) },
    { title: 'REMINDERS', value: ({ reminders }) => reminders?.toString() },
    { title: 'ARGUMENTS', value: ({ arguments: args }) => JSON.stringify(args).slice(0, 200), wide: true },
    { title: 'POLICY', value: ({ policy, rule }) => `${policy} rules[${rule}]`, wide: true },
  ],
  nameOf: ({ id }) => `approval/${id}`,
  none: 'no approvals',
};

export const ticketPrinting: Printing<TicketSummary> = {
  columns: [
    { title: 'ID', value: ({ id }) => id },
    { title: 'PRIORITY', value: ({ priority }) => priority },
    { title: 'TYPE', value: (ticket) => ticket.ticket_type },
    { title: 'STATUS', value: ({ status, hold }) => (hold ? `${status} (on hold)` : status) },
    { title: 'RESOLUTION', value: ({ resolution }) => resolution ?? undefined },
    { title: 'TITLE', value: ({ title }) => title },
    { title: 'CALLER', value: ({ caller }) => caller.user },
    { title: 'AGE', value: (ticket) => ageOf(ticket.created_at) },
    { title: 'UPDATED', value: (ticket) => ageOf(ticket.updated_at) },
    { title: 'LABELS', value: ({ labels }) => list(labels), wide: true },
    { title: 'PROJECT', value: ({ project }) => project, wide: true },
  ],
  nameOf: ({ id }) => `ticket/${id}`,
  none: 'no tickets',
};

export const statusPrinting: Printing<ServerStatus> = {
  columns: [
    { title: 'NAME', value: (server) => server.name },
    { title: 'STATE', value: (server) => server.state },
    { title: 'TRANSPORT', value: (server) => server.transport },
    { title: 'PROTOCOL', value: protocolText },
    { title: 'CONNECTIONS', value: (server) => server.connections },
    { title: 'TOOLS', value: (server) => server.tools },
    { title: 'LAST-ERROR', value: (server) => server.lastError },
    { title: 'PROTOCOL-SINCE', value: (server) => server.protocolSince, wide: true },
  ],
  nameOf: (server) => `server/${server.name}`,
  none: 'no servers',
};

const actorText = ({ actor, user, token, behind }: RecordedEvent): string => {
  const who = token === undefined ? (user ?? actor) : `${user}/${token}`;
  return behind === undefined ? who : `${who} (by ${behind})`;
};

/** What the event was about: the tool, else what was changed, else the server. */
const aboutText = ({ tool, target, server }: RecordedEvent) => tool ?? target ?? server;

export const auditPrinting: Printing<RecordedEvent> = {
  columns: [
    { title: 'TIME', value: ({ at }) => `${at.slice(0, 19).replace('T', ' ')}Z` },
    { title: 'EVENT', value: ({ event }) => event },
    { title: 'OUTCOME', value: ({ outcome }) => outcome },
    { title: 'WHO', value: actorText },
    { title: 'PROJECT', value: ({ project }) => project },
    { title: 'WHAT', value: aboutText },
    { title: 'MS', value: ({ durationMs }) => durationMs },
    { title: 'SURFACE', value: ({ surface }) => surface, wide: true },
    { title: 'FROM', value: ({ address }) => address, wide: true },
    { title: 'TRACE', value: ({ trace }) => trace, wide: true },
    {
      title: 'DETAIL',
      value: ({ detail }) => (detail === undefined ? detail : JSON.stringify(detail)),
      wide: true,
    },
    { title: 'ID', value: ({ id }) => id, wide: true },
  ],
  nameOf: ({ id }) => `auditevent/${id}`,
  none: 'no events',
};

/** The revision, and how long ago the server was asked for it. */
function protocolText({ protocol, protocolSince }: ServerStatus): string | undefined {
  return protocol === undefined ? undefined : `${protocol} (${ageOf(protocolSince)})`;
}
