import type { Command } from 'commander';
import { messageOf } from '../../base/errors.ts';
import type { ServerStatus } from '../../http/api/live.ts';
import { type Check, printChecks } from '../checks.ts';
import { Contexts } from '../contexts.ts';
import { CommandFailure, Exit } from '../exit.ts';
import { clockCheck, databaseCheck, dataDirectoryChecks, nodeCheck, stdioCheck } from '../machine-checks.ts';
import { oneOf } from '../options.ts';
import { packageVersion } from '../package-version.ts';
import { DEFAULT_DATA_DIR, ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { cleanLine } from '../terminal.ts';
import type { VerbContext } from '../verbs.ts';
import type { ListedServer } from './mcp-servers.ts';

type Flags = ServerFlags & { output: 'text' | 'json' };

const PATIENCE_MS = 10_000;

const EXAMPLES = `
Exit codes: 0 nothing is wrong; 1 something is. That no server runs is nothing wrong, unless one was named.

Examples:
  castellan doctor
  castellan doctor --context work -o json`;

export function defineDoctor(program: Command, context: VerbContext): void {
  const doctor = program
    .command('doctor')
    .description('Look at this machine, its data directory and the server, and say what is wrong.');
  withServer(doctor)
    .addOption(oneOf('-o, --output <format>', 'how to print', ['text', 'json'], 'text'))
    .showHelpAfterError('Run `castellan doctor --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((flags: Flags) => run(flags, context));
}

async function run(flags: Flags, context: VerbContext): Promise<void> {
  const { env } = context;
  const folder = flags.dataDir ?? (env.CASTELLAN_DATA_DIR || DEFAULT_DATA_DIR);
  const checks = [nodeCheck(), ...(await dataDirectoryChecks(folder))];
  checks.push(await databaseCheck(folder, env.CASTELLAN_DATABASE_URL || undefined), await contexts(env));
  checks.push(...(await server(flags, context)));
  if (!printChecks(checks, flags.output, context)) context.finish(Exit.failed);
}

async function contexts(env: VerbContext['env']): Promise<Check> {
  const check = 'contexts';
  try {
    const { all, current, file } = await Contexts.read(env);
    if (all.size === 0) return { check, status: 'skipped', message: 'none' };
    return { check, status: 'pass', message: `${all.size} in ${file}, current: ${current ?? 'none'}` };
  } catch (error) {
    return { check, status: 'fail', message: messageOf(error) };
  }
}

/** The server that other verbs would talk to. */
async function server(flags: Flags, context: VerbContext): Promise<Check[]> {
  const check = 'server';
  const isNamed = flags.server !== undefined || flags.context !== undefined;
  let client: ServerClient;
  let version: string;
  try {
    client = await ServerClient.connect(flags, context, PATIENCE_MS);
    version = String((await client.get('version')).version);
  } catch (error) {
    const isAbsent = !isNamed && !(error instanceof CommandFailure && error.exitCode !== Exit.unreachable);
    return [{ check, status: isAbsent ? 'skipped' : 'fail', message: messageOf(error) }];
  }
  const own = packageVersion();
  const differs = version === own ? '' : `; this command line is ${own}: install the same on both sides`;
  const status = version === own ? 'pass' : 'warn';
  const checks: Check[] = [{ check, status, message: `${client.origin}, version ${version}${differs}` }];
  checks.push(...(await ready(client)), ...(await upstreams(client)), await processes(client));
  return checks;
}

async function ready(client: ServerClient): Promise<Check[]> {
  const check = 'ready';
  try {
    const response = await fetch(new URL('/readyz', client.origin), {
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    const said = cleanLine(await response.text());
    const clock = clockCheck(response.headers.get('date'), Date.now());
    return [{ check, status: response.ok ? 'pass' : 'fail', message: said }, clock];
  } catch (error) {
    return [{ check, status: 'fail', message: messageOf(error) }];
  }
}

/** Servers that run beside Castellan, as far as the caller may see them. */
async function processes(client: ServerClient): Promise<Check> {
  try {
    return stdioCheck((await client.get('mcp/servers')).items as ListedServer[]);
  } catch (error) {
    return { check: 'processes', status: 'skipped', message: messageOf(error) };
  }
}

const SOUND = ['connected', 'disconnected', 'connecting', 'stopping'];

/** Upstream servers that do not work, as far as the caller may see them. */
async function upstreams(client: ServerClient): Promise<Check[]> {
  const check = 'upstream';
  try {
    const { items } = await client.get('mcp/status');
    const all = items as ServerStatus[];
    const ill = all.filter(({ state }) => !SOUND.includes(state));
    if (ill.length === 0)
      return [{ check, status: 'pass', message: `${all.length} servers, none of them broken` }];
    return ill.map(({ name, state, lastError }) => ({
      check,
      status: 'fail',
      message: `${name} is ${state}: ${cleanLine(lastError ?? 'no reason is known')}`,
    }));
  } catch (error) {
    return [{ check, status: 'skipped', message: messageOf(error) }];
  }
}
