import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger } from 'pino';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** Where finished lines go, newline included. */
export type LogDestination = { write(line: string): void };

/** Bytes of log that may wait for a reader that does not read; what comes on top is dropped, never the server. */
const MAX_WAITING_BYTES = 1024 * 1024;

const SECRET_FIELDS = [
  'authorization',
  'Authorization',
  'cookie',
  'password',
  'token',
  'secret',
  'credential',
  'masterKey',
  'code_verifier',
  'client_secret',
  'access_token',
  'refresh_token',
];
const REDACTED_PATHS = SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]);

/**
 * A logger that writes to stderr, one JSON object a line, or one readable line when stderr is a terminal.
 * Secret fields are redacted by name, and whatever looks like a credential by shape, wherever it stands.
 */
export function createLogger(
  options: { level?: LogLevel; destination?: LogDestination; readable?: boolean } = {},
): Logger {
  const out = options.destination ?? stderrDestination();
  const readable = options.readable ?? (options.destination === undefined && process.stderr.isTTY === true);
  const stream: DestinationStream = {
    write: (line) => out.write(withoutCredentials(readable ? readableLine(line) : line)),
  };
  return pino(
    {
      level: options.level ?? 'info',
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: REDACTED_PATHS, censor: '[redacted]' },
      serializers: { error: pino.stdSerializers.err },
    },
    stream,
  );
}

/** Replaces credentials by their harmless part: ours by prefix, bearer and basic headers, passwords in URLs. */
export function withoutCredentials(text: string): string {
  if (!/cst_|bearer|basic|:\/\//i.test(text)) return text;
  return text
    .replace(/\bcst_(pat|adm|ses|inv|cs|at|rt)_[0-9A-Za-z_-]+/g, 'cst_$1_[redacted]')
    .replace(/\b(bearer|basic)\s+[0-9A-Za-z._~+/=-]{6,}/gi, '$1 [redacted]')
    .replace(/(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/?#@"']+@/gi, '$1[redacted]@');
}

/**
 * Written through the process's own stream: it waits in memory for a slow reader, neither holds up the server nor its
 * end, and a closed stderr ends nothing.
 */
function stderrDestination(): LogDestination {
  const { stderr } = process;
  if (stderr.listenerCount('error') === 0) stderr.on('error', () => {});
  let dropped = 0;
  return {
    write(line) {
      if (stderr.writableLength > MAX_WAITING_BYTES) {
        dropped += 1;
        return;
      }
      if (dropped > 0)
        stderr.write(`{"level":"warn","dropped":${dropped},"msg":"log lines were dropped: nobody read"}\n`);
      dropped = 0;
      stderr.write(line);
    },
  };
}

function readableLine(line: string): string {
  const { time, level, msg, error, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const fault = (error ?? err) as { message?: unknown; stack?: unknown } | undefined;
  const told = fault === undefined ? [] : [String(fault.message ?? JSON.stringify(fault))];
  const shown = Object.entries(fields).map(([key, value]) => `${key}=${fieldText(value)}`);
  const text = [String(msg ?? ''), ...told, ...shown].filter((part) => part !== '').join('  ');
  return `${String(time).slice(11, 19)} ${String(level).toUpperCase().padEnd(5)} ${visible(text)}\n`;
}

function fieldText(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /[\s="]/.test(text) && typeof value === 'string' ? JSON.stringify(text) : text;
}

/** Control characters could repaint a terminal or forge a line. */
function visible(text: string): string {
  return text.replace(
    /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
