import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { messageOf } from '../../base/errors.ts';
import { PolicyBook } from '../../policy/policy-book.ts';
import { parseFile } from '../../resources/documents.ts';
import { caseProblems, type JudgedCase, judge, type PolicyCase } from '../../resources/policy-case.ts';
import { policyOf } from '../../resources/policy-fields.ts';
import { describeProblem, describeProblems } from '../../resources/problems.ts';
import { projectSpec } from '../../resources/project-fields.ts';
import { locateField } from '../../resources/snapshot.ts';
import { Exit, failed, usage } from '../exit.ts';
import { type OutputFormat, type Printing, printItems, withOutput } from '../output.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { readStdin } from '../stdin.ts';
import { withProject } from '../targets.ts';
import { yamlOf } from '../typed-yaml.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = ServerFlags & {
  filename?: string[];
  case?: string[];
  project?: string;
  tool?: string;
  args?: string;
  caller?: string;
  output: OutputFormat;
};

type Row = JudgedCase & { name?: string; expect?: string; passed: boolean };

const MAX_CASES = 10_000;

const EXAMPLES = `
With -f the policies of the files decide, and no server is needed; a Project in them brings its defaultAction. Without
it the policies in force on the server are asked.

A file of cases is YAML: a list, or {cases: [...]}, of
  - { tool: db__query, args: { sql: "..." }, expect: deny, project: demo, caller: { owner: alice@example.com } }

Exit code 1 when a case is not as expected.

Examples:
  castellan policy test -f policies.yaml --tool db__query --args '{"sql":"select 1"}'
  castellan policy test -f policies.yaml --case cases.yaml
  castellan policy test -p demo --tool github__delete_repo --caller alice@example.com`;

export function definePolicy(program: Command, context: VerbContext): void {
  const policy = program.command('policy').description('Policies: what they would say.');
  const test = policy
    .command('test')
    .description('Say which rule decides about a call, without making it.')
    .option('-f, --filename <file>', 'policies to ask, or "-" for stdin; may be given again', collect)
    .option('--case <file|yaml>', 'a file of cases, or one case as YAML or JSON; may be given again', collect)
    .option('--tool <name>', 'canonical name of the tool: server__name')
    .option('--args <json>', 'its arguments')
    .option('--caller <who>', 'e-mail of the owner, or {owner, principal, token} as YAML or JSON');
  withServer(withOutput(withProject(test)))
    .showHelpAfterError('Run `castellan policy test --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((flags: Flags) => run(flags, context));
}

function collect(value: string, earlier: readonly string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}

async function run(flags: Flags, context: VerbContext): Promise<void> {
  const cases = await casesOf(flags);
  const ask = flags.filename ? await askFiles(flags.filename) : await askServer(flags, context);
  const rows: Row[] = [];
  for (const one of cases) {
    const judged = await ask(one);
    const passed = one.expect === undefined || one.expect === judged.action;
    const { name, expect } = one;
    rows.push({ ...judged, ...(name && { name }), ...(expect && { expect }), passed });
  }
  printItems(context.terminal, flags.output, rows, casePrinting);
  const wrong = rows.filter(({ passed }) => !passed).length;
  if (wrong === 0) return;
  context.terminal.error(`${wrong} of ${rows.length} cases ${wrong === 1 ? 'is' : 'are'} not as expected`);
  context.finish(Exit.failed);
}

const casePrinting: Printing<Row> = {
  columns: [
    { title: 'TOOL', value: (row) => row.tool },
    { title: 'PROJECT', value: (row) => row.project },
    { title: 'ACTION', value: (row) => row.action },
    { title: 'BY', value: (row) => (row.failed ? `${row.by}, whose condition failed` : row.by) },
    { title: 'REASON', value: (row) => row.reason },
    { title: 'EXPECTED', value: (row) => row.expect },
    { title: 'RESULT', value: (row) => (row.expect === undefined ? undefined : row.passed ? 'ok' : 'WRONG') },
    { title: 'CASE', value: (row) => row.name, wide: true },
  ],
  nameOf: (row) => `${row.action}/${row.tool}`,
  none: 'no cases',
};

async function casesOf(flags: Flags): Promise<PolicyCase[]> {
  const cases: PolicyCase[] = [];
  if (flags.tool !== undefined) {
    const args = flags.args === undefined ? {} : yamlOf('--args', flags.args);
    cases.push(...checked('--tool', [{ tool: flags.tool, args, ...callerOf(flags.caller) }], flags));
  } else if (flags.args !== undefined || flags.caller !== undefined) {
    throw usage('--args and --caller go with --tool: name the tool');
  }
  for (const given of flags.case ?? []) {
    const inline = /^\s*[{[]/.test(given);
    const value = yamlOf(inline ? '--case' : given, inline ? given : await textOf(given));
    const isTable = typeof value === 'object' && value !== null && 'cases' in value;
    const list = isTable ? (value as { cases: unknown }).cases : value;
    cases.push(...checked(inline ? '--case' : given, Array.isArray(list) ? list : [list], flags));
  }
  if (cases.length === 0) throw usage('nothing to test: give --tool NAME, or --case FILE');
  if (cases.length > MAX_CASES) throw usage(`there are ${cases.length} cases: give at most ${MAX_CASES}`);
  return cases;
}

function callerOf(caller: string | undefined): { caller?: unknown } {
  if (caller === undefined) return {};
  return { caller: /^\s*\{/.test(caller) ? yamlOf('--caller', caller) : { owner: caller } };
}

function checked(place: string, list: readonly unknown[], { project }: Flags): PolicyCase[] {
  const problems = list.flatMap((one, index) => caseProblems(one, list.length > 1 ? ['cases', index] : []));
  if (problems.length > 0) throw usage(`${place}: ${describeProblems(problems.map(locateField))}`);
  return (list as PolicyCase[]).map((one) => (project === undefined ? one : { project, ...one }));
}

async function textOf(file: string): Promise<string> {
  try {
    return file === '-' ? await readStdin() : await readFile(file, 'utf8');
  } catch (error) {
    throw failed(`${file} cannot be read: ${messageOf(error)}`);
  }
}

type Ask = (wanted: PolicyCase) => JudgedCase | Promise<JudgedCase>;

async function askFiles(files: readonly string[]): Promise<Ask> {
  const objects = [];
  for (const file of files) {
    const parsed = parseFile(file === '-' ? 'stdin' : file, await textOf(file));
    if (parsed.problems.length > 0) throw failed(parsed.problems.map(describeProblem).join('\n'));
    objects.push(...parsed.objects);
  }
  const policies = objects.filter(({ kind }) => kind === 'Policy');
  if (policies.length === 0) throw failed(`there is no Policy in ${files.join(', ')}`);
  const book = new PolicyBook(policies.map(({ name, spec, locate }) => policyOf(name, spec, locate)));
  const projects = new Map(
    objects.filter(({ kind }) => kind === 'Project').map(({ name, spec }) => [name, projectSpec(spec)]),
  );
  return (wanted) => judge(book, (project) => projects.get(project)?.defaultAction ?? 'allow', wanted);
}

async function askServer(flags: Flags, context: VerbContext): Promise<Ask> {
  const client = await ServerClient.connect(flags, context);
  return async (wanted) => (await client.post('policies/test', wanted)) as unknown as JudgedCase;
}
