import type { Command } from 'commander';
import { messageOf } from '../../base/errors.ts';
import { oneOf } from '../options.ts';
import { packageVersion } from '../package-version.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = ServerFlags & { output: 'text' | 'json' };

export function defineVersion(program: Command, context: VerbContext): void {
  const version = program
    .command('version')
    .description('Print the version of this command line, and of the server if one runs.');
  withServer(version)
    .addOption(oneOf('-o, --output <format>', 'how to print', ['text', 'json'], 'text'))
    .showHelpAfterError('Run `castellan version --help` for its options.')
    .action((flags: Flags) => run(flags, context));
}

async function run(flags: Flags, context: VerbContext): Promise<void> {
  const { terminal } = context;
  const client = { version: packageVersion(), node: process.versions.node };
  const server = await serverVersion(flags, context);
  if (flags.output === 'json')
    return terminal.data(JSON.stringify({ client, server: server ?? null }, null, 2));
  terminal.line(`castellan ${client.version} (Node ${client.node})`);
  if (server) terminal.line(`server    ${server.version} at ${server.url}`);
}

/** Undefined when none runs; an explicit --server that does not answer is an error. */
async function serverVersion(
  flags: Flags,
  context: VerbContext,
): Promise<{ version: string; url: string } | undefined> {
  try {
    const client = await ServerClient.connect(flags, context);
    return { version: String((await client.get('version')).version), url: client.origin };
  } catch (error) {
    if (flags.server !== undefined) throw error;
    if (context.env.CASTELLAN_LOG_LEVEL === 'debug') context.terminal.note(messageOf(error));
    return undefined;
  }
}
