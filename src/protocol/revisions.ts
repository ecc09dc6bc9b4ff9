/** Protocol revisions this house speaks, newest first (specification basic/versioning). */
export const MODERN_REVISION = '2026-07-28';
export const LEGACY_REVISIONS = ['2025-11-25', '2025-06-18', '2025-03-26', '2024-11-05'] as const;
export const LATEST_LEGACY_REVISION = LEGACY_REVISIONS[0];
/** What a request without any version claim is taken for (2025-11-25 basic/transports#protocol-version-header). */
export const ASSUMED_LEGACY_REVISION = '2025-03-26';
export const SUPPORTED_REVISIONS: readonly string[] = [MODERN_REVISION, ...LEGACY_REVISIONS];

export type Era = 'legacy' | 'modern';

export function isLegacyRevision(revision: string): boolean {
  return (LEGACY_REVISIONS as readonly string[]).includes(revision);
}

/** Reserved `_meta` keys of the modern envelope; each hop sets its own (2026-07-28 basic/index#meta). */
export const Meta = {
  protocolVersion: 'io.modelcontextprotocol/protocolVersion',
  clientCapabilities: 'io.modelcontextprotocol/clientCapabilities',
  clientInfo: 'io.modelcontextprotocol/clientInfo',
  logLevel: 'io.modelcontextprotocol/logLevel',
  serverInfo: 'io.modelcontextprotocol/serverInfo',
  subscriptionId: 'io.modelcontextprotocol/subscriptionId',
} as const;

/** Whether content may hold links to resources (since 2025-06-18 server/tools#resource-links). */
export function takesResourceLinks(revision: string): boolean {
  return revision >= '2025-06-18';
}
