import { closeSync, openSync } from 'node:fs';
import { isatty } from 'node:tty';
import type { Command } from 'commander';
import type { RunningCastellan } from '../../app-options.ts';
import { messageOf } from '../../base/errors.ts';
import { banner } from '../banner.ts';
import { Exit } from '../exit.ts';
import { packageVersion } from '../package-version.ts';
import { type ServeFlags, serveSettings } from '../serve-settings.ts';
import type { VerbContext } from '../verbs.ts';

const EXAMPLES = `
Every option has a variable: CASTELLAN_HOST, CASTELLAN_PORT, CASTELLAN_DATA_DIR, CASTELLAN_PUBLIC_URL,
CASTELLAN_LOG_LEVEL, CASTELLAN_MAX_HTTP_SERVERS, CASTELLAN_MAX_STDIO_SERVERS; without an option:
CASTELLAN_CACHE_DIR, CASTELLAN_DATABASE_URL, CASTELLAN_TRUSTED_PROXIES, CASTELLAN_ALLOWED_ORIGINS,
CASTELLAN_CLIENT_REGISTRATION, CASTELLAN_CLIENT_METADATA_HOSTS, CASTELLAN_NOTIFY_ORIGINS,
CASTELLAN_MASTER_KEY[_FILE], CASTELLAN_AUDIT_RETENTION (default 90d), CASTELLAN_SSO_ISSUER and what belongs to it
(docs/sign-in.md). An option wins over its variable.

SIGHUP re-reads the --config files. SIGTERM and Ctrl-C stop gracefully; a second one stops at once.

Examples:
  castellan serve --config castellan.yaml
  castellan serve --config ~/.cursor/mcp.json --config overrides.yaml --port 7500`;

export function defineServe(program: Command, context: VerbContext): void {
  program
    .command('serve')
    .description('Run Castellan in the foreground.')
    .option(
      '-c, --config <file>',
      'resources, or a plain client file; may be given again, later files win',
      collect,
    )
    .option('--host <address>', 'address to listen on (default: 127.0.0.1)')
    .option('--port <port>', 'port to listen on, 0 for any free one (default: 7400)')
    .option('--data-dir <dir>', 'where everything is kept (default: ./.castellan)')
    .option('--public-url <url>', 'the URL under which others reach this server')
    .option('--log-level <level>', 'trace, debug, info, warn, error, fatal or silent (default: info)')
    .option('--grace <duration>', 'how long calls in flight may take at a stop (default: 20s)')
    .option('--max-http-servers <count>', 'HTTP servers connected at once (default: 64)')
    .option('--max-stdio-servers <count>', 'processes of stdio servers at once (default: 16)')
    .option('--insecure-http', 'listen beyond loopback without an https public URL')
    .showHelpAfterError('Run `castellan serve --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((flags: ServeFlags) => serve(flags, context));
}

function collect(file: string, earlier: readonly string[] | undefined): string[] {
  return [...(earlier ?? []), file];
}

async function serve(flags: ServeFlags, context: VerbContext): Promise<void> {
  const settings = serveSettings(flags, context.env);
  const stop = new StopRequest(context);
  // Listening from the first moment: a stop during the start must not leave a half-started server.
  stop.listen();
  const { startCastellan } = await import('../../app.ts');
  const running = await startCastellan({ ...settings, version: packageVersion() });
  context.terminal.note(banner(running, settings));
  const reload = () => void reloadFiles(running, context, stop);
  process.on('SIGHUP', reload);
  await stop.requested;
  process.removeListener('SIGHUP', reload);
  await running.stop(settings.graceMs);
  if (process.connected) process.disconnect();
}

async function reloadFiles(
  running: RunningCastellan,
  { terminal }: VerbContext,
  stop: StopRequest,
): Promise<void> {
  if (stop.terminalIsGone()) return stop.request();
  try {
    await running.reload();
  } catch (error) {
    terminal.error(`reload: ${messageOf(error)}`);
  }
}

/**
 * A terminal's Ctrl-C reaches a server up to three times: from the terminal itself, from npm, and from the launcher.
 * Signals this close to the first are its echo and not a second, impatient one.
 */
const ECHO_MS = 500;

/** Waits for the signal to stop; a second one ends the process at once. */
class StopRequest {
  readonly requested: Promise<void>;
  readonly #resolve: () => void;
  readonly #context: VerbContext;
  readonly #hadTerminal = isatty(0);
  #firstAt: number | undefined;

  constructor(context: VerbContext) {
    this.#context = context;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.requested = promise;
    this.#resolve = resolve;
  }

  listen(): void {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => this.#onSignal());
    // The channel to a launcher that died, even by SIGKILL.
    if (process.connected) process.on('disconnect', () => this.request());
  }

  request(): void {
    this.#firstAt ??= performance.now();
    this.#resolve();
  }

  /** A closed terminal sends SIGHUP too; a server that lost its terminal has nobody left to stop it. */
  terminalIsGone(): boolean {
    if (!this.#hadTerminal) return false;
    try {
      closeSync(openSync('/dev/tty', 'r'));
      return false;
    } catch {
      return true;
    }
  }

  #onSignal(): void {
    if (this.#firstAt === undefined) {
      this.#context.terminal.note('stopping; once more to stop at once');
      this.request();
    } else if (performance.now() - this.#firstAt > ECHO_MS) {
      this.#context.exitNow(Exit.failed);
    }
  }
}
