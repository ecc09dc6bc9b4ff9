import type { Command } from 'commander';
import { usage } from '../exit.ts';
import { nameList, repeated } from '../options.ts';
import { yamlOf } from '../typed-yaml.ts';
import type { VerbContext } from '../verbs.ts';
import { type CreateFlags, kindCommand, putNew } from './new-object.ts';

type ServerFields = CreateFlags & {
  command?: string;
  arg?: string[];
  env?: string[];
  cwd?: string;
  url?: string;
  header?: string[];
  protocol?: string;
  isolation?: string;
  prefix?: string;
  allow?: string[];
  deny?: string[];
  readOnly?: string[];
  override?: string;
  result?: string[];
  connect?: string;
  idleTimeout?: string;
  callTimeout?: string;
  maxResultBytes?: string;
  healthCheck?: string;
};

type ProjectFields = CreateFlags & {
  servers?: string[];
  operatorServers?: string[];
  exposure?: string;
  defaultAction?: string;
  newTools?: string;
  changedTools?: string;
  limits?: string;
  results?: string;
  audit?: string;
};

type PolicyFields = CreateFlags & { description?: string; projects?: string[]; rule?: string[] };

const SERVER_EXAMPLES = `
A secret belongs into no flag: write \${secret:NAME.KEY} where its value is to stand.

Examples:
  castellan create server memory --command npx -- -y @modelcontextprotocol/server-memory
  castellan create server github --url https://example.com/mcp --header 'Authorization=Bearer \${secret:github.token}'`;

const PROJECT_EXAMPLES = `
Examples:
  castellan create project demo --servers github,memory
  castellan create project tight --servers github --default-action deny --limits '{token: {calls: 60, per: 1m}}'`;

const POLICY_EXAMPLES = `
Example:
  castellan create policy careful --projects demo --rule '{tools: ["github__delete_*"], action: deny, reason: ask first}'`;

/** `create server`, `create project` and `create policy`: what `apply` takes from a file, from flags. */
export function defineCreateConfig(create: Command, context: VerbContext): void {
  withServerFields(kindCommand(create, 'server', 'Create an upstream MCP server.', 'its name'))
    .argument('[args...]', 'arguments of --command, after --')
    .addHelpText('after', SERVER_EXAMPLES)
    .action((name: string, args: string[], flags: ServerFields) =>
      putNew('Server', name, serverOf(flags, args), flags, context),
    );
  kindCommand(create, 'project', 'Create a project: a set of servers and its policy.', 'its name')
    .option('--servers <names>', 'servers of the consumer surface, with commas between', nameList)
    .option('--operator-servers <names>', 'servers of the operator surface, with commas between', nameList)
    .option('--exposure <how>', 'full, meta, gated')
    .option('--default-action <action>', 'allow or deny, where no policy says')
    .option('--new-tools <how>', 'list or hold: tools that a server lists later than at first')
    .option('--changed-tools <how>', 'hold or warn: tools whose definition is not the accepted one')
    .option('--limits <yaml>', 'token, user, tool, surface and project, each with calls, per, concurrent')
    .option('--results <yaml>', 'maxBytes: how much text of a result goes to a model')
    .option('--audit <yaml>', 'intent and arguments')
    .addHelpText('after', PROJECT_EXAMPLES)
    .action((name: string, flags: ProjectFields) =>
      putNew('Project', name, projectOf(flags), flags, context),
    );
  kindCommand(create, 'policy', 'Create a policy: rules about calls.', 'its name')
    .option('--description <text>', 'what it is for')
    .option('--projects <names>', 'projects it is about, or "*", with commas between', nameList)
    .option(
      '--rule <yaml>',
      'tools, when, action, reason; the first that fits counts; again for more',
      repeated,
    )
    .addHelpText('after', POLICY_EXAMPLES)
    .action((name: string, flags: PolicyFields) => {
      const { description, projects } = flags;
      const rules = flags.rule?.map((text) => yamlOf('--rule', text));
      return putNew('Policy', name, { description, projects, rules }, flags, context);
    });
}

function withServerFields(command: Command): Command {
  return command
    .option('--command <program>', 'a program to run (stdio)')
    .option('--arg <text>', 'an argument of it; may be given again', repeated)
    .option('--env <name=value>', 'a variable for it; may be given again', repeated)
    .option('--cwd <folder>', 'where it runs')
    .option('--url <url>', 'where the server is (HTTP)')
    .option('--header <name=value>', 'sent with each request; may be given again', repeated)
    .option('--protocol <revision>', 'auto, 2025-11-25, 2026-07-28 …')
    .option('--isolation <how>', 'shared, user or session: who shares a connection')
    .option('--prefix <how>', 'always, conditional or never')
    .option('--allow <glob>', 'only tools such as get_*; may be given again', repeated)
    .option('--deny <glob>', 'no tools such as delete_*; may be given again', repeated)
    .option('--read-only <glob>', 'tools that change nothing; may be given again', repeated)
    .option('--override <yaml>', 'another name or description: {search: {name: find}}')
    .option(
      '--result <yaml>',
      'tools, jsonPath, truncate, maxBytes: docs/results.md; again for more',
      repeated,
    )
    .option('--connect <when>', 'lazy or eager')
    .option('--idle-timeout <time>', 'such as 10m')
    .option('--call-timeout <time>', 'such as 60s')
    .option('--max-result-bytes <size>', 'such as 10MiB')
    .option('--health-check <yaml>', 'tool, interval, timeout, failures');
}

function serverOf(flags: ServerFields, rest: readonly string[]): Record<string, unknown> {
  const { command, cwd, url, protocol, isolation, prefix, allow, deny, readOnly } = flags;
  const { connect, idleTimeout, callTimeout, maxResultBytes } = flags;
  const args = [...(flags.arg ?? []), ...rest];
  const results = flags.result?.map((text) => yamlOf('--result', text));
  return {
    command,
    args: args.length > 0 ? args : undefined,
    env: assignments('--env', flags.env),
    cwd,
    url,
    headers: assignments('--header', flags.header),
    protocol,
    isolation,
    prefix,
    tools: present({ allow, deny, readOnly, override: yaml('--override', flags.override), results }),
    lifecycle: present({ connect, idleTimeout, callTimeout, maxResultBytes }),
    healthCheck: yaml('--health-check', flags.healthCheck),
  };
}

function projectOf(flags: ProjectFields): Record<string, unknown> {
  const { servers, operatorServers, exposure, defaultAction, newTools, changedTools } = flags;
  const limits = yaml('--limits', flags.limits);
  const results = yaml('--results', flags.results);
  const audit = yaml('--audit', flags.audit);
  return {
    servers,
    operatorServers,
    exposure,
    defaultAction,
    newTools,
    changedTools,
    limits,
    results,
    audit,
  };
}

/** The fields that have a value; undefined where none has. */
function present(fields: Record<string, unknown>): Record<string, unknown> | undefined {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return given.length === 0 ? undefined : Object.fromEntries(given);
}

/** `NAME=VALUE` of each use of a flag; the value is not repeated in an error, for it may be a secret. */
function assignments(flag: string, texts: readonly string[] | undefined): Record<string, string> | undefined {
  if (!texts) return undefined;
  const values = new Map<string, string>();
  for (const text of texts) {
    const at = text.indexOf('=');
    if (at < 1) throw usage(`${flag}: write NAME=VALUE, the name first`);
    const name = text.slice(0, at);
    if (values.has(name)) throw usage(`${flag} ${name}=…: the name is given twice`);
    values.set(name, text.slice(at + 1));
  }
  return Object.fromEntries(values);
}

const yaml = (flag: string, text: string | undefined) =>
  text === undefined ? undefined : yamlOf(flag, text);
