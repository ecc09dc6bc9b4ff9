import path from 'node:path';
import type { Command } from 'commander';
import { readLocalAdmin } from '../../identity/local-admin.ts';
import { DEFAULT_PROJECT } from '../../resources/objects.ts';
import {
  CLIENTS,
  type ClientName,
  clientEntries,
  type EndpointEntry,
  type EntryProof,
  PLACES,
  SIGN_INS,
  stdioEntries,
  TOKEN_VARIABLE,
} from '../client-entries.ts';
import { Contexts } from '../contexts.ts';
import { usage } from '../exit.ts';
import { givenToken, TOKEN_SOURCES } from '../given-token.ts';
import { repeated } from '../options.ts';
import { DEFAULT_DATA_DIR, ServerClient, type ServerFlags, serverUrl, withServer } from '../server-client.ts';
import { projectOf, withProject } from '../targets.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = ServerFlags & {
  project?: string;
  surface?: string[];
  name?: string;
  tokenFrom?: string;
  oauth?: true;
  stdio?: true;
  clientId?: string;
};

const DEFAULT_URL = 'http://127.0.0.1:7400';
const EXAMPLES = `
Without --token-from the entry says how the client gets a token: from the variable ${TOKEN_VARIABLE}, or by asking; with
--oauth it signs you in. \`generic\` needs no server.

Examples:
  castellan config claude -p demo > .mcp.json
  castellan config vscode -p demo --surface consumer --surface operator
  castellan config codex -p demo --oauth
  castellan config claude -p demo --stdio
  castellan create mcptoken laptop -p demo --rbac clone | castellan config cursor -p demo --token-from -`;

export function defineConfig(program: Command, context: VerbContext): void {
  const config = program
    .command('config')
    .description('Print what a client needs to reach a project, ready to be pasted.')
    .argument('<client>', `one of ${CLIENTS.join(', ')}`)
    .option('--surface <surface>', 'consumer or operator; may be given again (default: consumer)', repeated)
    .option('--name <name>', 'what the client calls it (default: the project)')
    .option('--token-from <place>', `put this token into the entry: ${TOKEN_SOURCES}`)
    .option('--oauth', 'no token: the client signs its person in')
    .option('--stdio', 'the client starts castellan mcp-serve, which proves itself')
    .option('--client-id <id>', 'the same, as an OAuth client that is registered by hand');
  withServer(withProject(config))
    .showHelpAfterError('Run `castellan config --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((client: string, flags: Flags) => run(client, flags, context));
}

async function run(word: string, flags: Flags, context: VerbContext): Promise<void> {
  const { terminal } = context;
  const client = CLIENTS.find((one) => one === word);
  if (!client) throw usage(`"${word}" is no client that is known here: use one of ${CLIENTS.join(', ')}`);
  const surfaces = [...new Set(flags.surface ?? ['consumer'])];
  const wrong = surfaces.find((surface) => surface !== 'consumer' && surface !== 'operator');
  if (wrong !== undefined) throw usage(`--surface "${wrong}" is unknown: use consumer or operator`);
  if (flags.stdio) return overStdio(client, surfaces, flags, context);
  const { base, project } = await (client === 'generic' ? whereLocally : whereOnServer)(flags, context);
  const endpoints = surfaces.map((surface) => endpointOf(base, project, surface, flags.name));
  const proof = await proofOf(flags, context);
  terminal.data(clientEntries(client, endpoints, proof));
  terminal.note(`for ${PLACES[client]}`);
  if (proof.by === 'sign-in') terminal.note(`it signs you in at the server: ${SIGN_INS[client]}`);
  else if (proof.token === undefined) terminal.note(tokenHint(client, project, surfaces));
  else terminal.warn('the entry holds the token itself: keep the file to yourself');
}

async function overStdio(
  client: ClientName,
  surfaces: readonly string[],
  flags: Flags,
  context: VerbContext,
): Promise<void> {
  if (flags.tokenFrom !== undefined || flags.oauth || flags.clientId !== undefined)
    throw usage('--stdio needs no token and signs nobody in: mcp-serve proves itself');
  const { project } = await (client === 'generic' ? whereLocally : whereOnServer)(flags, context);
  const server = await serverArguments(flags, context);
  const entries = surfaces.map((surface) => {
    const { name } = endpointOf('', project, surface, flags.name);
    const more = surface === 'operator' ? ['--surface', surface] : [];
    return [name, ['mcp-serve', ...server, '-p', project, ...more]] as const;
  });
  context.terminal.data(stdioEntries(client, new Map(entries)));
  context.terminal.note(`for ${PLACES[client]}; castellan has to be on the PATH of the client`);
}

/** Whatever folder a client starts it in, it reaches the server that is meant here. */
async function serverArguments({ server, context, dataDir }: Flags, { env }: VerbContext): Promise<string[]> {
  if (server !== undefined) return ['--server', serverUrl(server, '--server').origin];
  const given = dataDir ?? (env.CASTELLAN_DATA_DIR || undefined);
  const known = given === undefined ? (context ?? (await Contexts.read(env)).current) : context;
  return known === undefined ? ['--data-dir', path.resolve(given ?? DEFAULT_DATA_DIR)] : ['--context', known];
}

async function proofOf({ oauth, clientId, tokenFrom }: Flags, context: VerbContext): Promise<EntryProof> {
  if (!oauth && clientId === undefined) {
    return { by: 'token', token: tokenFrom === undefined ? undefined : await givenToken(tokenFrom, context) };
  }
  if (tokenFrom !== undefined) throw usage('--oauth needs no token: leave --token-from out');
  return { by: 'sign-in', clientId };
}

function tokenHint(client: ClientName, project: string, surfaces: readonly string[]): string {
  const named = surfaces.map((surface) => ` --surface ${surface}`).join('');
  const make = `castellan create mcptoken NAME -p ${project}${named} --rbac clone`;
  if (client === 'vscode') return `it asks for a token; make one with  ${make}`;
  if (client === 'generic') return `put a token in place of <TOKEN>; make one with  ${make}`;
  return `it reads the token from its environment:  export ${TOKEN_VARIABLE}=$(${make})`;
}

function endpointOf(base: string, project: string, surface: string, name: string | undefined): EndpointEntry {
  const isOperator = surface === 'operator';
  const folder = project === DEFAULT_PROJECT ? '' : `/projects/${encodeURIComponent(project)}`;
  const called = name ?? (project === DEFAULT_PROJECT ? 'castellan' : project);
  return {
    name: isOperator ? `${called}-operator` : called,
    url: `${base}${folder}/${isOperator ? 'operator-mcp' : 'mcp'}`,
  };
}

type Where = { base: string; project: string };

async function whereOnServer(flags: Flags, context: VerbContext): Promise<Where> {
  const client = await ServerClient.connect(flags, context);
  const { url } = await client.get('version');
  const project = await projectOf(flags.project, client, context);
  const { project: own } = await client.get('mcptokens/introspect');
  // A token may know its own project without the right to look at it.
  if (own !== project) await client.get(`projects/${encodeURIComponent(project)}`);
  return { base: String(url), project };
}

/** As far as this machine knows, without asking anybody. */
async function whereLocally(flags: Flags, { env }: VerbContext): Promise<Where> {
  const project = flags.project ?? DEFAULT_PROJECT;
  if (flags.server !== undefined) return { base: serverUrl(flags.server, '--server').origin, project };
  const contexts = await Contexts.read(env);
  const name = flags.context ?? (flags.dataDir === undefined ? contexts.current : undefined);
  if (name !== undefined) return { base: contexts.named(name).server, project };
  const dataDir = flags.dataDir ?? (env.CASTELLAN_DATA_DIR || DEFAULT_DATA_DIR);
  const local = await readLocalAdmin(dataDir).catch(() => undefined);
  return { base: env.CASTELLAN_PUBLIC_URL || local?.url || DEFAULT_URL, project };
}
