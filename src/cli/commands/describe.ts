import type { Command } from 'commander';
import type { ServerDetail, ToolDetail } from '../../http/api/live.ts';
import { usage } from '../exit.ts';
import { oneOf } from '../options.ts';
import { toYaml } from '../output.ts';
import type { AnyObject } from '../printings.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { isLive, projectOf, storedTarget, targetsOf, withProject } from '../targets.ts';
import { toolText } from '../tool-text.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = ServerFlags & { project?: string; output: 'text' | 'json' | 'yaml' };

const EXAMPLES = `
A server shows its connections and the last lines that its process wrote to stderr; a token its bindings; a tool its
definition, and how it differs from the accepted one.

Examples:
  castellan describe server github
  castellan describe tool github__search -p demo
  castellan describe mcptoken laptop -p demo`;

export function defineDescribe(program: Command, context: VerbContext): void {
  const describe = program
    .command('describe')
    .description('Show one resource with its live state.')
    .argument('<kind>', 'server, project, mcptoken, tool, ticket, approval …; KIND/NAME works too')
    .argument('[name]', 'its name or id');
  withServer(withProject(describe))
    .addOption(oneOf('-o, --output <format>', 'how to print', ['text', 'json', 'yaml'], 'text'))
    .showHelpAfterError('Run `castellan describe --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((word: string, name: string | undefined, flags: Flags) => run(word, name, flags, context));
}

async function run(
  word: string,
  name: string | undefined,
  flags: Flags,
  context: VerbContext,
): Promise<void> {
  const { terminal } = context;
  const [target] = targetsOf(word, name === undefined ? [] : [name]);
  if (target && isLive(target.kind) && (target.kind === 'tickets' || target.kind === 'approvals'))
    return describeLive(target.kind, target.names, flags, context);
  if (target?.kind === 'tools') return describeTool(target.names, flags, context);
  const { kind, names } = storedTarget(word, name === undefined ? [] : [name], 'describe');
  if (names.length !== 1) throw usage(`name the ${kind.singular}: castellan describe ${kind.singular} NAME`);
  const client = await ServerClient.connect(flags, context);
  const path = `${kind.plural}/${encodeURIComponent(names[0] ?? '')}`;
  const query = kind.kind === 'McpToken' ? { project: flags.project } : {};
  const object = (await client.get(path, query)) as unknown as AnyObject;
  const live = kind.kind === 'Server' ? await client.get(`${path}/status`) : undefined;
  const described = live === undefined ? object : { ...object, status: live };
  if (flags.output === 'json') terminal.data(JSON.stringify(described, null, 2));
  else if (flags.output === 'yaml' || live === undefined) terminal.data(toYaml(described));
  else terminal.line(serverText(object, live as unknown as ServerDetail).trimEnd());
}

async function describeLive(
  kind: 'tickets' | 'approvals',
  [id, ...more]: readonly string[],
  flags: Flags,
  context: VerbContext,
): Promise<void> {
  const one = kind.slice(0, -1);
  if (id === undefined || more.length > 0) throw usage(`name the ${one}: castellan describe ${one} ID`);
  const client = await ServerClient.connect(flags, context);
  const item = await client.get(`${kind}/${encodeURIComponent(id)}`);
  context.terminal.data(flags.output === 'json' ? JSON.stringify(item, null, 2) : toYaml(item));
}

async function describeTool(
  [name, ...more]: readonly string[],
  flags: Flags,
  context: VerbContext,
): Promise<void> {
  if (name === undefined || more.length > 0) throw usage('name the tool: castellan describe tool NAME');
  const { terminal } = context;
  const client = await ServerClient.connect(flags, context);
  const project = await projectOf(flags.project, client, context);
  const path = `projects/${encodeURIComponent(project)}/tools/${encodeURIComponent(name)}`;
  const tool = (await client.get(path)) as unknown as ToolDetail;
  if (flags.output === 'json') terminal.data(JSON.stringify(tool, null, 2));
  else if (flags.output === 'yaml') terminal.data(toYaml(tool));
  else terminal.line(toolText(tool));
}

/** The log of the process comes last and as it was written, so that it can be read. */
function serverText(object: AnyObject, { stderr = [], ...status }: Partial<ServerDetail>): string {
  const log = stderr.length > 0 ? stderr.map((line) => `  | ${line}`).join('\n') : '  (nothing)';
  return `${toYaml({ ...object, status })}stderr:\n${log}\n`;
}
