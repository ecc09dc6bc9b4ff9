import { apiRoutes } from '../../src/http/api/api.ts';
import { KINDS } from '../../src/resources/kinds.ts';

/** One request to a route of the API, such that whoever may make it gets something other than 401, 403 and 404. */
export type Operation = {
  title: string;
  method: string;
  /** Path and query, `NAME` standing for an object made for this operation. */
  path: string;
  body?: unknown;
  form?: string;
};

const SPECS: Readonly<Record<string, object>> = {
  Server: { url: 'http://127.0.0.1:1/mcp' },
  Project: { servers: [] },
  Group: {},
  User: {},
  Rbac: { subjects: [], roleBindings: [] },
  Secret: { data: { KEY: 'value' } },
  OAuthClient: { project: 'demo' },
  Repository: { path: '/srv/code' },
  Policy: { projects: ['*'], rules: [{ tools: ['x'], action: 'deny' }] },
};

/** Objects that operations are tried on; the name of a user is an e-mail address. */
export const nameOf = (kind: string): string => (kind === 'User' ? 'known@example.com' : 'known');

export const knownObject = (kind: string, name = nameOf(kind)): object => ({
  apiVersion: 'castellan/v1',
  kind,
  metadata: { name },
  spec: SPECS[kind] ?? {},
});

/** Bodies of routes that take one. */
const BODIES: Readonly<Record<string, Pick<Operation, 'body' | 'form'>>> = {
  'POST /auth/can-i': { body: { role: 'view', resource: 'servers' } },
  'POST /mcptokens': { body: { name: 'UNIQUE', project: 'demo' } },
  'PUT /mcptokens/:name': {
    body: { kind: 'McpToken', metadata: { name: 'UNIQUE', project: 'demo' }, spec: {} },
  },
  'POST /approvals/:id/decide': { body: { decision: 'approve' } },
  'POST /approvals/:id/resolve': { body: { outcome: 'failed' } },
  'PUT /freezes/:scope': { body: {} },
  'POST /projects/:name/tools/:tool/accept': { body: { fingerprint: '0'.repeat(64) } },
  'POST /policies/test': { body: { tool: 'web__x', expect: 'allow', project: 'demo' } },
  'POST /tickets': { body: { title: 'UNIQUE', body: 'text' } },
  'POST /tickets/:id/followups': { body: { title: 'UNIQUE', body: 'text' } },
  'POST /tickets/:id/acts': { body: { act: 'note', text: 'text' } },
  'POST /secrets/rotate-key': { body: {} },
  'POST /servers/:name/login': { body: {} },
  'POST /servers/:name/login/complete': { body: {} },
  'POST /mcptokens/introspect': { form: 'token=none' },
};

/** Every route of the router itself, each kind of object on its own. */
export function apiOperations(): Operation[] {
  // Routes are values; what they are made of is used only by their handlers.
  const routes = apiRoutes({ store: {}, audit: {} } as never);
  return routes.flatMap(({ method, path }): Operation[] => {
    const extra = BODIES[`${method} ${path}`] ?? {};
    if (!path.startsWith('/:kind'))
      return [{ title: `${method} ${path}`, method, path: filled(path, method), ...extra }];
    const stored = KINDS.filter(({ kind }) => kind !== 'McpToken');
    return stored.map(({ kind, plural }) => {
      const own = path.replace(':kind', plural);
      const title = `${method} ${own}`;
      const to = own.replace(':name', encodeURIComponent(nameOf(kind)));
      if (method === 'PUT') return { title, method, path: `${to}?dryRun=true`, body: knownObject(kind) };
      return { title, method, path: method === 'DELETE' ? `${to}?dryRun=true` : to };
    });
  });
}

function filled(path: string, method: string): string {
  const name = path.startsWith('/mcptokens/') ? (method === 'PUT' ? 'UNIQUE' : 'TOKEN') : 'known';
  const where = path.startsWith('/projects/:name')
    ? 'demo'
    : path.startsWith('/users/:name')
      ? nameOf('User')
      : name;
  if (path === '/freezes/:scope') return '/freezes/demo';
  if (path.startsWith('/projects/:name/tools/:tool'))
    return path.replace(':name', 'demo').replace(':tool', 'web__known');
  if (path === '/grants/:id') return method === 'DELETE' ? '/grants/GRANT?dryRun=true' : '/grants/GRANT';
  if (path === '/tickets') return '/tickets?project=demo';
  if (path.startsWith('/tickets/:id')) return path.replace(':id', 'TICKET');
  if (path === '/auditevents/:id') return '/auditevents/EVENT';
  const query = path.startsWith('/mcptokens/:name') ? '?project=demo' : '';
  const dry = method === 'DELETE' ? '&dryRun=true' : '';
  if (path.startsWith('/approvals/:id')) return path.replace(':id', 'known');
  return `${path.replace(':name', where)}${query}${query && dry}`;
}
