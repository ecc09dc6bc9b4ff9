/** Severities of `notifications/message`, least severe first (RFC 5424; specification server/utilities/logging). */
export const LOG_LEVELS = [
  'debug',
  'info',
  'notice',
  'warning',
  'error',
  'critical',
  'alert',
  'emergency',
] as const;

export type McpLogLevel = (typeof LOG_LEVELS)[number];

/** What a legacy client that never said gets to hear. */
export const DEFAULT_LOG_LEVEL: McpLogLevel = 'info';

export function isLogLevel(value: unknown): value is McpLogLevel {
  return (LOG_LEVELS as readonly unknown[]).includes(value);
}

/** Whether a message of `level` is severe enough for who asked for `threshold`. An unknown level is not. */
export function isLoggedAt(threshold: McpLogLevel, level: unknown): boolean {
  return isLogLevel(level) && LOG_LEVELS.indexOf(level) >= LOG_LEVELS.indexOf(threshold);
}
