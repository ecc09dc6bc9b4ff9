import type { Surface } from '../resources/spec.ts';

/** What a token can be for (RFC 8707): a project, by any of its URLs, or the REST API. */
export type ProtectedResource = { api: false; project: string; surface: Surface } | { api: true };

const DEFAULT_PROJECT = 'default';
const MCP_PATH = /^(?:\/projects\/([^/]+))?\/(operator-)?mcp$/;
const API_PATH = '/api/v1';

/** The resource at this path; undefined where there is none. A path has one spelling. */
export function resourceAt(path: string): ProtectedResource | undefined {
  if (path === API_PATH) return { api: true };
  const [found, encoded, operator] = MCP_PATH.exec(path) ?? [];
  if (found === undefined) return undefined;
  const project = encoded === undefined ? DEFAULT_PROJECT : decoded(encoded);
  if (project === undefined || (encoded !== undefined && encodeURIComponent(project) !== encoded))
    return undefined;
  return { api: false, project, surface: operator === undefined ? 'consumer' : 'operator' };
}

/** The path of the MCP endpoint that a request without `resource` means. */
export function projectPath(project: string, surface: Surface = 'consumer'): string {
  return `/projects/${encodeURIComponent(project)}/${surface === 'operator' ? 'operator-mcp' : 'mcp'}`;
}

/**
 * The resource that an indicator names.
 * @param owns whether an origin is this server
 */
export function resourceOf(
  indicator: string,
  owns: (origin: string) => boolean,
): ProtectedResource | undefined {
  const url = URL.parse(indicator);
  // A query, a fragment, a user, another spelling of the same: nothing that we would ever name.
  return url && `${url.origin}${url.pathname}` === indicator && owns(url.origin)
    ? resourceAt(url.pathname)
    : undefined;
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
