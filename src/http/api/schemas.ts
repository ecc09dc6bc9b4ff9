import { z } from 'zod';
import { APPROVAL_VIEW, TOLD_APPROVAL_VIEW } from '../../approvals/approval-view.ts';
import { FINDING_KINDS } from '../../pins/suspicious-text.ts';
import { ACTIONS, BOUND_RESOURCES, ROLES } from '../../resources/bindings.ts';
import { KINDS, type KindName } from '../../resources/kinds.ts';
import { API_VERSION } from '../../resources/objects.ts';
import { POLICY_CASE } from '../../resources/policy-case.ts';
import { SPEC_SCHEMAS } from '../../resources/spec-schemas.ts';
import { Act, NewFollowup, NewTicket } from '../../toolsets/tickets/arguments.ts';
import { Ticket, TicketSummary } from '../../toolsets/tickets/ticket.ts';

/** The shapes that the API takes and answers, for its document; what is refused is decided where it is read. */

const text = z.string();
const time = z.iso.datetime();
const surface = z.enum(['consumer', 'operator']);
const readOnly = { readOnly: true };

const Refused = z
  .strictObject({ error: z.strictObject({ code: text, message: text }) })
  .describe('A refusal: a code in capitals, and a sentence that names the field and the fix.');

const Metadata = z.strictObject({
  name: text,
  project: text.optional().describe('Of a McpToken alone.'),
  labels: z.record(text, text).optional(),
  uid: text.optional().meta(readOnly),
  resourceVersion: text
    .optional()
    .describe('In a PUT: the version that has to be there; without it the last write wins.'),
  createdAt: time.optional().meta(readOnly),
  updatedAt: time.optional().meta(readOnly),
  managedBy: text.optional().meta(readOnly).describe('api, or file: and the file that owns the object.'),
});

const Binding = z.union([
  z.strictObject({
    role: z.enum(ROLES),
    resource: z.enum(BOUND_RESOURCES),
    name: text.optional(),
    project: text.optional(),
  }),
  z.strictObject({ action: z.enum(ACTIONS) }),
]);

const Tool = z.strictObject({
  canonical: text,
  name: text,
  server: text,
  surface,
  description: text.optional(),
  fingerprint: text,
  state: z
    .enum(['accepted', 'held', 'warned'])
    .describe('held: neither listed nor called before it is accepted; warned: listed although it is not.'),
  why: z.enum(['new', 'changed']).optional(),
  flags: z.array(z.enum(FINDING_KINDS)).describe('What stands out in the definition.'),
});

const PinnedDefinition = z.strictObject({
  fingerprint: text,
  definition: z.looseObject({}).optional().describe('Missing where it was too long to be kept.'),
  seenAt: time,
  acceptedAt: time.optional().describe('Missing while it waits.'),
  acceptedBy: text.optional().describe('Missing where the first use was trusted.'),
});

const ServerStatus = z.strictObject({
  name: text,
  state: z.enum(['disconnected', 'connecting', 'connected', 'needs_auth', 'failed', 'stopping', 'broken']),
  transport: z.enum(['stdio', 'http', 'sse', 'builtin']).optional(),
  protocol: text.optional(),
  protocolSince: text.optional(),
  connections: z.int(),
  tools: z.int().optional(),
  lastError: text.optional(),
  login: z
    .strictObject({ flow: text, expiresAt: time, command: text })
    .describe('A sign-in under way, and the command that finishes it.')
    .optional(),
});

const LoginStep = z.strictObject({
  id: text.describe('Of this sign-in: others may be under way beside it.'),
  flow: z.enum(['device', 'paste', 'browser', 'page']),
  url: text.describe('To be opened in a browser; anywhere, unless the flow is browser.'),
  userCode: text.optional(),
  redirectUri: text.describe('Where the browser comes back to, whether it gets there or not.').optional(),
  expiresAt: time,
});

const Connection = z.strictObject({
  state: ServerStatus.shape.state,
  owner: text.optional(),
  pid: z.int().optional(),
  connectedAt: text.optional(),
  inFlight: z.int().optional(),
});

const ConfiguredServer = z.strictObject({
  name: text,
  spec: z.unknown(),
  managedBy: text.optional(),
  error: text.optional().describe('Why it cannot run.'),
});

const listOf = (item: z.ZodType) => z.strictObject({ items: z.array(item) });

const AuditEvent = z
  .looseObject({
    id: text,
    at: time,
    event: text,
    outcome: text,
    actor: text,
    durationMs: z.number().optional(),
    detail: z.unknown().optional(),
  })
  .describe('With user, token, project, server, tool, target and the like where they are known.');

const Freeze = z.strictObject({
  project: text.optional().describe('Left out: every project.'),
  reason: text,
  by: text,
  since: time,
});

/** Kinds whose status is known; that of the others may be anything. */
const STATUS: { readonly [kind in KindName]?: z.ZodType } = {
  Policy: z.strictObject({ state: z.enum(['ready', 'unreadable']), error: text.optional() }),
  Project: z.strictObject({ state: z.enum(['active', 'frozen']), freeze: Freeze.optional() }),
  McpToken: z.strictObject({
    status: z.enum(['active', 'revoked', 'expired']),
    prefix: text,
    owner: text,
    principal: text,
    bindings: z.array(text),
    removed: z.array(z.looseObject({})).optional(),
    lastUsedAt: time.nullable(),
    expiresAt: time.nullable(),
    revokedAt: time.nullable(),
  }),
};

const Session = z.strictObject({
  id: text,
  type: z.enum(['session', 'streams']),
  user: text,
  token: text.optional(),
  project: text.optional().describe('Left out: every project.'),
  surface: surface.optional(),
  client: text.optional(),
  protocol: text.optional(),
  startedAt: time.optional(),
  lastSeenAt: time.optional(),
  streams: z.int(),
});

const Grant = z.strictObject({
  id: text,
  user: text.optional().describe('Left out: that user is gone.'),
  client: text.describe('Id of the client.'),
  clientName: text,
  project: text.optional().describe('Left out: everything.'),
  scopes: z.array(z.enum(['mcp', 'mcp:operator', 'api'])),
  createdAt: time,
  updatedAt: time,
  lastUsedAt: time.nullable().describe('When a token was last issued under it.'),
});

const OTHERS = {
  Error: Refused,
  Metadata,
  Binding,
  Tool,
  ToolList: z.strictObject({
    items: z.array(Tool),
    degraded: z.array(z.strictObject({ server: text, reason: text })),
    note: text.optional(),
  }),
  ToolDetail: z.strictObject({
    ...Tool.shape,
    definition: z.looseObject({}).describe('As the server writes it.'),
    findings: z.array(z.strictObject({ kind: z.enum(FINDING_KINDS), at: text, text })),
    definitions: z.array(PinnedDefinition).describe('That the project has seen, the newest first.'),
  }),
  ToolAcceptance: z.strictObject({ fingerprint: text.describe('Of the definition that was looked at.') }),
  ToolAccepted: z.strictObject({ canonical: text, fingerprint: text, state: z.literal('accepted') }),
  ServerStatus,
  LoginStep,
  LoginWish: z.strictObject({
    flow: z.enum(['device', 'paste', 'browser']).optional(),
    redirectUri: text.describe('Of the port that waits on the machine of the browser.').optional(),
  }),
  LoginAnswer: z.strictObject({
    id: text.describe('Of the sign-in of a device; without it the one begun last.').optional(),
    url: text.describe('What the browser came back to; left out for a device.').optional(),
  }),
  LoginProgress: z.strictObject({
    state: z.enum(['signed_in', 'pending']),
    retryAfterMs: z.int().optional(),
  }),
  LoginEnded: z.strictObject({
    ended: z.boolean(),
    atVendor: z.enum(['revoked', 'kept', 'untold']).optional(),
  }),
  ServerStatusList: z.strictObject({ items: z.array(ServerStatus), frozen: z.array(Freeze) }),
  Approval: APPROVAL_VIEW,
  ToldApproval: TOLD_APPROVAL_VIEW,
  ApprovalList: listOf(APPROVAL_VIEW),
  ApprovalReason: z.strictObject({ reason: text.optional() }),
  ApprovalDecision: z.strictObject({ decision: z.enum(['approve', 'reject']), reason: text.optional() }),
  ApprovalResolution: z.strictObject({ outcome: z.enum(['succeeded', 'failed']) }),
  Freeze,
  SessionList: listOf(Session),
  Grant,
  GrantList: listOf(Grant),
  Ticket,
  TicketList: z.strictObject({
    items: z.array(TicketSummary),
    count: z.int(),
    nextCursor: text.optional(),
  }),
  NewTicket,
  NewFollowup,
  TicketAct: Act,
  GrantChange: z.strictObject({ action: z.literal('deleted'), object: Grant }),
  FreezeList: listOf(Freeze),
  FreezeWish: z.strictObject({ reason: text.optional() }),
  ServerDetail: z.strictObject({
    ...ServerStatus.partial().shape,
    connectionList: z.array(Connection).optional(),
    stderr: z.array(text).optional(),
  }),
  ConfiguredServerList: listOf(ConfiguredServer),
  PasswordLink: z.strictObject({ user: text, url: text, expiresAt: time }),
  Version: z.strictObject({ version: text, node: text, url: text }),
  Reloaded: z.strictObject({ ok: z.boolean(), message: text }),
  OpenApi: z.looseObject({ openapi: text }),
  AuditEvent,
  AuditPage: z.strictObject({ items: z.array(AuditEvent), next: text.optional() }),
  AuditReport: z.strictObject({
    ok: z.boolean(),
    chains: z.int(),
    rows: z.int(),
    findings: z.array(z.looseObject({})),
    more: z.int(),
  }),
  PolicyCase: POLICY_CASE,
  JudgedCase: z.strictObject({
    tool: text,
    project: text,
    action: z.enum(['allow', 'deny', 'approve']),
    by: text.describe('What decided, as in humans-first rules[0].'),
    reason: text.optional(),
    failed: z.literal(true).optional(),
  }),
  RotationWish: z.strictObject({
    retireOld: text.optional().describe('After which time the old keys open nothing any more, such as 7d.'),
  }),
  Rotation: z.strictObject({ key: text, keys: z.int(), resealed: z.int(), retired: z.int() }),
  Whoami: z.strictObject({
    principal: text,
    owner: text,
    actor: text.optional(),
    token: text.optional(),
    project: text.describe('* for every project.'),
    surfaces: z.array(surface),
    groups: z.array(text),
    bindings: z.array(text),
  }),
  Ask: z.looseObject({
    role: z.enum(ROLES).optional(),
    resource: z.enum(BOUND_RESOURCES).optional(),
    name: text.optional(),
    action: z.enum(ACTIONS).optional(),
    project: text.optional(),
  }),
  Decision: z.strictObject({
    allowed: z.boolean(),
    missing: text.optional(),
    by: z.strictObject({ rbac: text, subject: text, binding: text }).optional(),
  }),
  Introspection: z
    .looseObject({ active: z.boolean(), project: text.optional(), surfaces: z.array(surface).optional() })
    .describe('Of the bearer; with more about a token than about a user.'),
  IntrospectionForm: z.strictObject({ token: text }),
  TokenWish: z.strictObject({
    name: text,
    project: text,
    rbac: z.enum(['empty', 'clone']).optional(),
    binds: z.array(Binding).optional(),
    surfaces: z.array(surface).optional(),
    ttl: text.optional().describe('30d, 12h, never, or an ISO 8601 date.'),
    description: text.optional(),
    labels: z.record(text, text).optional(),
    force: z.boolean().optional(),
  }),
};

/** Of the kind in the path. */
type KindSchema = 'Kind' | 'KindList' | 'KindChange' | 'KindEvent';

export type SchemaName =
  | keyof typeof OTHERS
  | KindSchema
  | `McpToken${'' | 'List' | 'Change'}`
  | 'OAuthClientChange';

/** Every schema by its name in the document. */
export function apiSchemas(): Record<string, z.ZodType> {
  const schemas: Record<string, z.ZodType> = { ...OTHERS };
  for (const { kind } of KINDS) Object.assign(schemas, schemasOf(kind));
  return schemas;
}

type JsonSchema = {
  type?: string;
  properties?: Record<string, JsonSchema>;
  additionalProperties?: boolean | object;
  anyOf?: JsonSchema[];
};

/** The fields that an object of the kind can have below a path; undefined: any whatever. */
export function fieldsBelow(kind: KindName, path: readonly string[]): string[] | undefined {
  const whole = z.toJSONSchema(schemasOf(kind)[kind]!, { io: 'input', unrepresentable: 'any' });
  let below = alternatives([whole as JsonSchema]);
  for (const step of path) below = alternatives(below.flatMap(({ properties }) => properties?.[step] ?? []));
  if (below.some(isOpen)) return undefined;
  return [...new Set(below.flatMap(({ properties }) => Object.keys(properties ?? {})))];
}

function alternatives(schemas: readonly JsonSchema[]): JsonSchema[] {
  return schemas.flatMap((one) => (one.anyOf ? alternatives(one.anyOf) : [one]));
}

function isOpen({ type, additionalProperties }: JsonSchema): boolean {
  return type === undefined || (additionalProperties !== undefined && additionalProperties !== false);
}

function schemasOf(kind: KindName): Record<string, z.ZodType> {
  const spec = SPEC_SCHEMAS[kind];
  const object = z.strictObject({
    apiVersion: z.literal(API_VERSION),
    kind: z.literal(kind),
    metadata: Metadata,
    spec,
    status: (STATUS[kind] ?? z.looseObject({}))
      .optional()
      .meta(readOnly)
      .describe('What the server knows of it now.'),
  });
  const isToken = kind === 'McpToken';
  return {
    [`${kind}Spec`]: spec,
    [kind]: object,
    [`${kind}List`]: z.strictObject({
      items: z.array(object),
      ...(isToken ? {} : { metadata: z.strictObject({ resourceVersion: text }) }),
    }),
    ...(isToken
      ? {}
      : {
          [`${kind}Event`]: z.strictObject({
            type: z.enum(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK']),
            resourceVersion: text.describe('Where to begin another watch.'),
            object: object.optional(),
          }),
        }),
    [`${kind}Change`]: z.strictObject({
      action: z.enum(['created', 'configured', 'unchanged', 'deleted', 'revoked', 'rotated']).optional(),
      object,
      ...(kind === 'OAuthClient'
        ? { secret: text.optional().describe('What it proves itself with, shown this once.') }
        : {}),
      ...(isToken ? { token: text.optional().describe('The raw token, shown this once.') } : {}),
    }),
  };
}
