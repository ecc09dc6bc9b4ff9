import type { Command } from 'commander';
import { isObject, type JsonObject } from '../../protocol/jsonrpc.ts';
import { ACTIONS, BOUND_RESOURCES, ROLES } from '../../resources/bindings.ts';
import { KINDS } from '../../resources/kinds.ts';
import { nearest } from '../../resources/names.ts';
import { Exit, usage } from '../exit.ts';
import { oneOf } from '../options.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { withProject } from '../targets.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = ServerFlags & { project?: string; output: 'text' | 'json' };

const EXAMPLES = `
VERB is a role (view, create, edit, delete, run, use, handle, approve, admin) on a RESOURCE, or an action alone (logs,
impersonate, escalate, bind, spawn, introspect, backup, freeze). Exit code 0: yes; 1: no.

Examples:
  castellan auth can-i edit servers github     # or servers/github
  castellan auth can-i run tools github__create_issue -p demo --as User:alice@example.com
  castellan auth can-i spawn`;

/** Words that people bring along from other tools. */
const SAME_ROLE: Readonly<Record<string, string>> = {
  get: 'view',
  list: 'view',
  describe: 'view',
  update: 'edit',
  apply: 'edit',
  call: 'run',
};

export function defineAuth(program: Command, context: VerbContext): void {
  const auth = program.command('auth').description('What somebody may do.');
  const canI = auth
    .command('can-i')
    .description('Say whether something is allowed, and which binding decides.')
    .argument('<verb>', 'a role or an action')
    .argument('[resource]', 'such as servers, mcptokens, tools; RESOURCE/NAME works too; none for an action')
    .argument('[name]', 'one object; without it the question is about all of them');
  withServer(withProject(canI))
    .addOption(oneOf('-o, --output <format>', 'how to print', ['text', 'json'], 'text'))
    .showHelpAfterError('Run `castellan auth can-i --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((verb: string, resource: string | undefined, name: string | undefined, flags: Flags) =>
      canDo(askOf(verb, resource, name), flags, context),
    );
}

type Question = { action: string } | { role: string; resource: string; name?: string };

function askOf(verb: string, resource: string | undefined, name: string | undefined): Question {
  if (ACTIONS.some((action) => action === verb)) {
    if (resource === undefined) return { action: verb };
    throw usage(`${verb} is an action and stands alone: castellan auth can-i ${verb}`);
  }
  const role = SAME_ROLE[verb] ?? verb;
  if (!ROLES.some((one) => one === role)) {
    const meant = nearest(verb, [...ROLES, ...ACTIONS]);
    const fix = meant ? `did you mean ${meant}?` : `use one of ${[...ROLES, ...ACTIONS].join(', ')}`;
    throw usage(`"${verb}" is no role and no action: ${fix}`);
  }
  if (resource === undefined) throw usage(`on what? castellan auth can-i ${verb} RESOURCE [NAME]`);
  const [word = '', ...rest] = resource.split('/');
  const inPath = rest.length > 0 ? rest.join('/') : undefined;
  if (inPath !== undefined && name !== undefined)
    throw usage(`"${resource}" names it already: leave out ${name}`);
  if (inPath === '') throw usage(`"${resource}" is no RESOURCE/NAME, such as servers/github`);
  const one = name ?? inPath;
  return { role, resource: resourceNamed(word), ...(one === undefined ? {} : { name: one }) };
}

function resourceNamed(word: string): string {
  const wanted = word.toLowerCase();
  const kind = KINDS.find((one) => [one.singular, one.plural, one.alias].includes(wanted));
  const found = BOUND_RESOURCES.find((one) => one === (kind?.plural ?? wanted) || one === `${wanted}s`);
  if (found) return found;
  const meant = nearest(wanted, BOUND_RESOURCES);
  const fix = meant ? `did you mean ${meant}?` : `use one of ${BOUND_RESOURCES.join(', ')}`;
  throw usage(`"${word}" is no resource: ${fix}`);
}

async function canDo(question: Question, flags: Flags, context: VerbContext): Promise<void> {
  const client = await ServerClient.connect(flags, context);
  const answer = await client.post('auth/can-i', { ...question, project: flags.project });
  if (flags.output === 'json') context.terminal.data(JSON.stringify(answer, null, 2));
  else context.terminal.line(sentence(answer));
  if (answer.allowed !== true) context.finish(Exit.failed);
}

function sentence(answer: JsonObject): string {
  if (answer.allowed !== true)
    return `no - ${String(answer.lacking)} does not have ${String(answer.missing)}`;
  const by = isObject(answer.by) ? answer.by : {};
  return `yes - rbac/${String(by.rbac)} gives ${String(by.binding)} to ${String(by.subject)}`;
}
