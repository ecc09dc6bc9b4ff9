import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { messageOf } from '../../base/errors.ts';
import { parseFile } from '../../resources/documents.ts';
import { API_VERSION } from '../../resources/objects.ts';
import { describeProblem } from '../../resources/problems.ts';
import { clientFiles, clientServersIn, KNOWN_CLIENTS, type KnownClient } from '../client-config.ts';
import { failed } from '../exit.ts';
import { objectsOfText } from '../object-files.ts';
import { toYaml } from '../output.ts';
import { type ServerFlags, withServer } from '../server-client.ts';
import { cleanLine } from '../terminal.ts';
import type { VerbContext } from '../verbs.ts';
import { applyObjects } from './apply.ts';

type Flags = ServerFlags & { apply?: boolean; dryRun?: boolean };
/** A text with servers in it, by a name for messages. */
type Source = { name: string; text: string };

const SECRET_NAME = /token|secret|passw|api[-_]?key|authorization|credential|private[-_]?key/i;

const EXAMPLES = `
Without --apply it prints what \`apply\` takes, placeholders as written, and needs no server. Servers are in no project
yet: name them in the spec.servers of one. To start commands, Castellan wants the right action:spawn.

Examples:
  castellan import claude
  castellan import cursor > servers.yaml
  castellan import ~/mcp.json --apply --dry-run`;

export function defineImport(program: Command, context: VerbContext): void {
  const command = program
    .command('import')
    .description('Take over the MCP servers of another client.')
    .argument(
      '<source>',
      `a file with mcpServers or servers, or ${KNOWN_CLIENTS.join(', ')}: yours and this folder's`,
    )
    .option('-y, --apply', 'create or change the servers instead of printing them')
    .option('--dry-run', 'with --apply: check everything, change nothing');
  withServer(command)
    .showHelpAfterError('Run `castellan import --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((source: string, flags: Flags) => run(source, flags, context));
}

async function run(word: string, flags: Flags, context: VerbContext): Promise<void> {
  const { terminal } = context;
  const client = KNOWN_CLIENTS.find((one) => one === word);
  const source = client ? await sourceOf(client, context) : await sourceIn(word);
  const { objects, problems, notices, client: isClientFile } = parseFile(source.name, source.text);
  if (problems.length === 0 && !isClientFile)
    throw failed(`${source.name} has neither mcpServers nor servers; castellan apply -f takes other files`);
  for (const { name, spec } of objects) {
    for (const field of plainSecrets(spec)) {
      terminal.warn(
        `${name}: ${field} holds what looks like a secret, in clear; keep it with castellan create secret, and write \${secret:NAME.KEY}`,
      );
    }
  }
  if (flags.apply || flags.dryRun) {
    return applyObjects(
      objectsOfText(source.name, source.text, context, 'nothing was applied'),
      flags,
      context,
    );
  }
  for (const notice of notices) terminal.warn(describeProblem(notice));
  if (problems.length > 0) throw failed(problems.map(describeProblem).join('\n'));
  const written = objects.map(({ kind, name, spec }) => ({
    apiVersion: API_VERSION,
    kind,
    metadata: { name },
    spec,
  }));
  terminal.data(written.map(toYaml).join('---\n'));
}

async function sourceIn(file: string): Promise<Source> {
  try {
    return { name: file, text: await readFile(file, 'utf8') };
  } catch (error) {
    throw failed(`${file} cannot be read: ${messageOf(error)}`);
  }
}

async function sourceOf(client: KnownClient, { env, terminal }: VerbContext): Promise<Source> {
  const folder = process.cwd();
  const servers: Record<string, unknown> = {};
  const files = clientFiles(client, env, folder);
  for (const file of files) {
    const found = await clientServersIn(file, folder);
    if (!found) continue;
    terminal.note(`${file}: ${cleanLine(Object.keys(found).join(', '))}`);
    Object.assign(servers, found);
  }
  if (Object.keys(servers).length === 0)
    throw failed(`no servers of ${client} were found; looked at ${files.join(', ')}`);
  return { name: client, text: JSON.stringify({ mcpServers: servers }) };
}

/** Fields whose name says secret and whose value stands there as it is. */
function plainSecrets(spec: Record<string, unknown>): string[] {
  return ['env', 'headers'].flatMap((group) =>
    Object.entries((spec[group] ?? {}) as Record<string, unknown>)
      .filter(([key, value]) => SECRET_NAME.test(key) && typeof value === 'string' && value !== '')
      .filter(([, value]) => !String(value).includes('${'))
      .map(([key]) => `${group}.${key}`),
  );
}
