/** The audit cannot be written now, so what it has to announce must not happen. */
export class AuditUnavailable extends Error {
  readonly retryAfterMs: number;

  constructor(retryAfterMs: number) {
    super('the audit cannot be written');
    this.name = 'AuditUnavailable';
    this.retryAfterMs = Math.ceil(retryAfterMs);
  }
}
