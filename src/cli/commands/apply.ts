import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { messageOf } from '../../base/errors.ts';
import { type AppliedObject, objectsToApply } from '../../resources/apply.ts';
import { KINDS, kindOf } from '../../resources/kinds.ts';
import { describeProblem } from '../../resources/problems.ts';
import { CommandFailure, Exit, failed, usage } from '../exit.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { readStdin } from '../stdin.ts';
import { TokenFile } from '../token-file.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = ServerFlags & { filename: string[]; dryRun?: boolean; tokensOut?: string };

const EXAMPLES = `
\${VAR} and \${VAR:-default} are replaced from the environment of this command; \${secret:…} is left to the server.
A Secret without data, as get prints it, keeps its values; one with data gets them anew each time.
Each new token is printed once, as NAME<TAB>TOKEN.

Examples:
  castellan apply -f castellan.yaml
  castellan get server github -o yaml | castellan apply -f - --dry-run
  castellan apply -f tokens.yaml --tokens-out tokens.tsv`;

export function defineApply(program: Command, context: VerbContext): void {
  const apply = program
    .command('apply')
    .description('Create or change resources from files. Live at once.')
    .requiredOption('-f, --filename <file>', 'a file, or "-" for stdin; may be given again', collect)
    .option('--dry-run', 'check everything, change nothing')
    .option('--tokens-out <file>', 'write new tokens there (mode 0600) instead of printing them');
  withServer(apply)
    .showHelpAfterError('Run `castellan apply --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((flags: Flags) => run(flags, context));
}

function collect(file: string, earlier: readonly string[] | undefined): string[] {
  return [...(earlier ?? []), file];
}

async function run(flags: Flags, context: VerbContext): Promise<void> {
  const { terminal } = context;
  if (flags.filename.filter((file) => file === '-').length > 1)
    throw usage('-f - is given twice; stdin is read once');
  const objects: AppliedObject[] = [];
  for (const file of flags.filename) objects.push(...(await readObjects(file, context)));
  objects.sort((a, b) => RANK.indexOf(a.kind) - RANK.indexOf(b.kind));
  const client = await ServerClient.connect(flags, context);
  const tokens =
    flags.tokensOut === undefined || flags.dryRun ? undefined : await TokenFile.create(flags.tokensOut);
  const faults: string[] = [];
  /** Projects that a dry run would make, and that its tokens therefore cannot be checked against. */
  const planned = new Set<string>();
  try {
    for (const object of objects) {
      if (object.problems.length > 0) {
        faults.push(object.problems.map(describeProblem).join('\n'));
        continue;
      }
      try {
        await applyOne(client, object, objects, planned, tokens, flags, context);
      } catch (error) {
        // One object that is refused does not keep the others from being tried; an absent server does.
        if (!(error instanceof CommandFailure) || error.exitCode !== Exit.failed) throw error;
        faults.push(`${object.file}:${object.line}: ${labelOf(object)}: ${error.message}`);
      }
    }
  } finally {
    await tokens?.finish();
  }
  for (const fault of faults) terminal.error(fault);
  if (faults.length > 0) context.finish(Exit.failed);
}

const RANK = KINDS.map((one) => one.kind);

async function readObjects(file: string, { env, terminal }: VerbContext): Promise<AppliedObject[]> {
  const name = file === '-' ? 'stdin' : file;
  let text: string;
  try {
    text = file === '-' ? await readStdin() : await readFile(file, 'utf8');
  } catch (error) {
    throw failed(`${name} cannot be read: ${messageOf(error)}`);
  }
  const { objects, problems, notices } = objectsToApply(name, text, env);
  for (const notice of notices) terminal.warn(describeProblem(notice));
  if (problems.length > 0) throw failed(`nothing was applied:\n${problems.map(describeProblem).join('\n')}`);
  return objects;
}

async function applyOne(
  client: ServerClient,
  object: AppliedObject,
  all: readonly AppliedObject[],
  planned: Set<string>,
  tokens: TokenFile | undefined,
  flags: Flags,
  { terminal }: VerbContext,
): Promise<void> {
  const { apiVersion, kind, metadata, spec } = object;
  const written: Written = { apiVersion, kind, metadata, spec };
  const { name, project } = object.metadata;
  const dryRun = flags.dryRun ? true : undefined;
  const suffix = dryRun ? ' (dry run)' : '';
  if (dryRun && project !== undefined && planned.has(project)) {
    return terminal.line(`${labelOf(object)} created${suffix}`);
  }
  const body = dryRun && object.kind === 'Project' ? withoutPlanned(written, all) : written;
  const path = `${kindOf(object.kind).plural}/${encodeURIComponent(name)}`;
  const answer = await client.put(path, body, { project, dryRun });
  // Named servers that are themselves only planned are a change that the server cannot see.
  const action = body !== written && answer.action === 'unchanged' ? 'configured' : String(answer.action);
  if (object.kind === 'McpToken' && action === 'unchanged') {
    return terminal.line(`${labelOf(object)} already active, skipped${suffix}`);
  }
  if (object.kind === 'Project' && dryRun && action === 'created') planned.add(name);
  terminal.line(`${labelOf(object)} ${action}${suffix}`);
  if (typeof answer.token !== 'string') return;
  if (tokens) await tokens.add(name, answer.token);
  else terminal.line(`${name}\t${answer.token}`);
}

function labelOf(object: AppliedObject): string {
  return `${object.kind.toLowerCase()}/${object.metadata.name}`;
}

type Written = Pick<AppliedObject, 'apiVersion' | 'kind' | 'metadata' | 'spec'>;

/** In a dry run the servers of the same files do not exist yet; a project that names them is checked without them. */
function withoutPlanned(project: Written, all: readonly AppliedObject[]): Written {
  const planned = new Set(all.filter(({ kind }) => kind === 'Server').map(({ metadata }) => metadata.name));
  const kept = (names: unknown) =>
    Array.isArray(names) ? names.filter((name) => !planned.has(String(name))) : names;
  const { servers, operatorServers } = project.spec;
  const spec = { ...project.spec, servers: kept(servers), operatorServers: kept(operatorServers) };
  return { ...project, spec };
}
