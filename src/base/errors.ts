/** What kind of refusal an edge has to express; each edge (REST, CLI, MCP) maps it to its own status once. */
export type RefusalKind =
  | 'invalid'
  | 'unauthenticated'
  | 'forbidden'
  | 'not_found'
  | 'conflict'
  | 'unavailable';

/**
 * A refusal that a person or a program should read. `message` is the public sentence and names the field and the
 * fix; `detail` is for the log alone. Domain code knows no HTTP and no JSON-RPC.
 */
export class Refusal extends Error {
  readonly kind: RefusalKind;
  readonly detail: string | undefined;

  constructor(kind: RefusalKind, message: string, detail?: string) {
    super(message);
    this.name = 'Refusal';
    this.kind = kind;
    this.detail = detail;
  }
}

/** The message of anything thrown, without its stack. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0 && !error.message) {
    return error.errors.map(messageOf).join('; ');
  }
  return error instanceof Error ? error.message : String(error);
}
