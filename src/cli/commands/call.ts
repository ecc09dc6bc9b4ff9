import { type Command, Option } from 'commander';
import type { ToolView } from '../../http/api/live.ts';
import { isObject, type JsonObject } from '../../protocol/jsonrpc.ts';
import { OWN_TOOLS } from '../../resources/builtin-toolsets.ts';
import { nearest } from '../../resources/names.ts';
import { CommandFailure, Exit, failed } from '../exit.ts';
import { toolArguments } from '../json-arguments.ts';
import { oneOf } from '../options.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { projectOf, withProject } from '../targets.ts';
import { cleanLine } from '../terminal.ts';
import type { VerbContext } from '../verbs.ts';

type Surface = 'consumer' | 'operator';
type Found = Pick<ToolView, 'canonical' | 'name' | 'surface'>;
type Flags = ServerFlags & { project?: string; surface?: Surface; output: 'text' | 'json' };

const EXAMPLES = `
Exit codes: 0 the tool answered; 1 no answer, or not authorized; 2 the tool answered isError; 64 a wrong flag.

Examples:
  castellan call everything__echo '{"message":"hello"}' -p demo
  echo '{"path":"."}' | castellan call filesystem__list_directory - -p demo -o json`;

export function defineCall(program: Command, context: VerbContext): void {
  const call = program
    .command('call')
    .description('Call one tool through the running server.')
    .argument('<tool>', 'its canonical name, such as everything__echo, or the name that agents see')
    .argument('[arguments]', 'a JSON object, or "-" for stdin (default: {})');
  withServer(withProject(call))
    .addOption(
      new Option('--surface <surface>', 'where to look for it (default: both)').choices([
        'consumer',
        'operator',
      ]),
    )
    .addOption(
      oneOf('-o, --output <format>', 'text: its text; json: the whole result', ['text', 'json'], 'text'),
    )
    .showHelpAfterError('Run `castellan call --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((tool: string, text: string | undefined, flags: Flags) => run(tool, text, flags, context));
}

async function run(
  name: string,
  text: string | undefined,
  flags: Flags,
  context: VerbContext,
): Promise<void> {
  const { terminal } = context;
  const args = await toolArguments(text, 'the arguments', `'{"key":"value"}'`);
  try {
    const client = await ServerClient.connect(flags, context);
    const project = await projectOf(flags.project, client, context);
    const tool = await findTool(client, project, name, flags.surface);
    const result = await callTool(client, project, tool, args);
    if (flags.output === 'json') terminal.data(JSON.stringify(result, null, 2));
    else terminal.data(textOf(result));
    if (result.isError === true) context.finish(Exit.contract);
  } catch (error) {
    // This verb says 1 for every way in which no answer came, so that 2 is the tool's own word.
    if (!(error instanceof CommandFailure) || error.exitCode === Exit.usage) throw error;
    throw failed(error.message);
  }
}

async function findTool(
  client: ServerClient,
  project: string,
  name: string,
  surface: Surface | undefined,
): Promise<Found> {
  const list = await client.get(`projects/${encodeURIComponent(project)}/tools`, { surface });
  const tools = list.items as ToolView[];
  const found = tools.find((tool) => tool.canonical === name) ?? tools.find((tool) => tool.name === name);
  if (found) return found;
  // They are in no list of the tools of servers.
  if (OWN_TOOLS.some((own) => own === name)) return { canonical: name, name, surface: surface ?? 'consumer' };
  const meant = nearest(
    name,
    tools.flatMap((tool) => [tool.canonical, tool.name]),
  );
  const degraded = (list.degraded ?? []) as { server: string; reason: string }[];
  const missing = degraded.map(({ server, reason }) => `\n${server} is degraded: ${cleanLine(reason)}`);
  const fix = meant ? `did you mean ${meant}?` : `see \`castellan get tools -p ${project}\``;
  throw failed(`project ${project} has no tool ${name}: ${fix}${missing.join('')}`);
}

/** One bare call without a session, as the endpoint serves it to anything that can post. */
async function callTool(
  client: ServerClient,
  project: string,
  tool: Found,
  args: JsonObject,
): Promise<JsonObject> {
  const path = `/projects/${encodeURIComponent(project)}/${tool.surface === 'operator' ? 'operator-mcp' : 'mcp'}`;
  const params = { name: tool.name, arguments: args };
  const answer = await client.mcp(path, { jsonrpc: '2.0', id: 1, method: 'tools/call', params });
  if (isObject(answer.result)) return answer.result;
  const error = isObject(answer.error) ? answer.error : {};
  throw failed(`${tool.canonical}: ${cleanLine(String(error.message ?? 'the server gave no result'))}`);
}

/** The text of the content; other blocks are named, and seen whole with `-o json`. */
function textOf(result: JsonObject): string {
  const content = Array.isArray(result.content) ? result.content : [];
  const lines = content.map((block) => {
    if (!isObject(block)) return '';
    if (typeof block.text === 'string') return block.text;
    if (isObject(block.resource) && typeof block.resource.text === 'string') return block.resource.text;
    const link = typeof block.uri === 'string' ? ` ${block.uri}` : '';
    return `[${String(block.type ?? 'content')}${link}]`;
  });
  if (lines.length > 0) return lines.join('\n');
  return result.structuredContent === undefined ? '' : JSON.stringify(result.structuredContent, null, 2);
}
