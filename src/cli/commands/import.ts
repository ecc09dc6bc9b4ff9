import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { messageOf } from '../../base/errors.ts';
import type { JsonObject } from '../../protocol/jsonrpc.ts';
import type { AppliedObject } from '../../resources/apply.ts';
import { parseFile } from '../../resources/documents.ts';
import { API_VERSION } from '../../resources/objects.ts';
import { describeProblem } from '../../resources/problems.ts';
import { clientFiles, clientServersIn, KNOWN_CLIENTS, type KnownClient } from '../client-config.ts';
import { failed, usage } from '../exit.ts';
import { movedSecrets, plainSecrets } from '../imported-secrets.ts';
import { objectsOfText } from '../object-files.ts';
import { toYaml } from '../output.ts';
import { ServerClient, type ServerFlags, ServerRefusal, withServer } from '../server-client.ts';
import { cleanLine } from '../terminal.ts';
import type { VerbContext } from '../verbs.ts';
import { applyObjects } from './apply.ts';

type Flags = ServerFlags & { apply?: boolean; dryRun?: boolean; project?: string; secrets?: boolean };
/** A text with servers in it, by a name for messages. */
type Source = { name: string; text: string };

const EXAMPLES = `
Without --apply it prints what \`apply\` takes, placeholders as written, and needs no server. Agents see the servers of a
project: -p adds them to one, which is made if there is none. To start commands, Castellan wants the right action:spawn.

Examples:
  castellan import claude
  castellan import cursor > servers.yaml
  castellan import cursor --apply --secrets -p demo
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
    .option('-p, --project <project>', 'with --apply: add the servers to this project')
    .option(
      '--secrets',
      'keep what looks like a secret in a Secret of the name of its server; printed, its values stand in clear',
    )
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
  if (flags.apply || flags.dryRun) {
    const applied = objectsOfText(source.name, source.text, context, 'nothing was applied');
    return applyImported(imported(applied, flags, context), flags, context);
  }
  if (flags.project !== undefined) throw usage('-p adds servers to a project, which takes --apply');
  for (const notice of notices) terminal.warn(describeProblem(notice));
  if (problems.length > 0) throw failed(problems.map(describeProblem).join('\n'));
  const written = objects.map(({ kind, name, spec }) => ({ kind, metadata: { name }, spec }));
  const printed = imported(written, flags, context).map((object) => ({ apiVersion: API_VERSION, ...object }));
  terminal.data(printed.map(toYaml).join('---\n'));
  terminal.note(
    'agents see none of them yet: name them in the spec.servers of a project, or use --apply -p PROJECT',
  );
}

type Imported = Pick<AppliedObject, 'kind' | 'metadata' | 'spec'>;

/** The servers, with their secrets kept apart where that is wished, and a warning of those that stay in clear. */
function imported<Object extends Imported>(
  servers: readonly Object[],
  { secrets }: Flags,
  { terminal }: VerbContext,
): Object[] {
  return servers.flatMap((server) => {
    const { name } = server.metadata;
    const { spec, data } = secrets ? movedSecrets(name, server.spec) : { spec: server.spec, data: {} };
    for (const field of plainSecrets(spec)) {
      const fix = /^args/.test(field) ? 'write a reference for it' : 'use --secrets, or write a reference';
      terminal.warn(
        `${name}: ${field} holds what looks like a secret, in clear; ${fix}: \${secret:NAME.KEY}`,
      );
    }
    const kept = Object.keys(data).length > 0 ? [{ ...server, kind: 'Secret' as const, spec: { data } }] : [];
    return [...kept, { ...server, spec }];
  });
}

async function applyImported(objects: AppliedObject[], flags: Flags, context: VerbContext): Promise<void> {
  const client = await ServerClient.connect(flags, context);
  const servers = objects.filter(({ kind }) => kind === 'Server').map(({ metadata }) => metadata.name);
  for (const object of objects) {
    if (object.kind !== 'Secret') continue;
    // Its other keys are somebody's too.
    const there = await objectThere(client, `secrets/${encodeURIComponent(object.metadata.name)}`);
    if (there) object.spec = { ...object.spec, keys: (there.spec as { keys?: string[] }).keys ?? [] };
  }
  const all = [...objects];
  if (flags.project !== undefined) all.push(await projectWith(servers, flags.project, client));
  await applyObjects(all, flags, context);
  if (flags.project === undefined)
    context.terminal.note(
      'agents see none of them yet: import again with -p PROJECT, or add them to its spec.servers',
    );
}

/** The project with the servers added to those of its consumer surface; a new one where there is none. */
async function projectWith(
  servers: readonly string[],
  name: string,
  client: ServerClient,
): Promise<AppliedObject> {
  const there = await objectThere(client, `projects/${encodeURIComponent(name)}`);
  const spec = (there?.spec ?? {}) as { servers?: string[]; operatorServers?: string[] };
  const known = [...(spec.servers ?? []), ...(spec.operatorServers ?? [])];
  const added = servers.filter((server) => !known.includes(server));
  const { resourceVersion, labels } = (there?.metadata ?? {}) as AppliedObject['metadata'];
  return {
    apiVersion: API_VERSION,
    kind: 'Project',
    metadata: { name, ...(labels && { labels }), ...(resourceVersion !== undefined && { resourceVersion }) },
    spec: { ...spec, servers: [...(spec.servers ?? []), ...added] },
    file: '-p',
    line: 1,
    problems: [],
  };
}

async function objectThere(client: ServerClient, path: string): Promise<JsonObject | undefined> {
  try {
    return await client.get(path);
  } catch (error) {
    if (error instanceof ServerRefusal && error.status === 404) return undefined;
    throw error;
  }
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
