import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { messageOf } from '../../base/errors.ts';
import { API_VERSION } from '../../resources/objects.ts';
import { secretKeyFault, secretValueFault } from '../../resources/secret-fields.ts';
import { failed, usage } from '../exit.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { readStdin } from '../stdin.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = ServerFlags & {
  fromLiteral?: string[];
  fromFile?: string[];
  fromEnv?: string[];
  force?: boolean;
  dryRun?: boolean;
};

const EXAMPLES = `
Servers use a value as \${secret:NAME.KEY} in env, headers, args and url. Nothing ever prints it again.
A --from-literal value is seen in the list of processes and in the shell's history; the other ways are not.
One line break at the end of a file or of stdin is left out.

Examples:
  castellan create secret github --from-env token=GITHUB_TOKEN
  castellan create secret github --from-file token=./token.txt --from-file ca=./ca.pem
  pass show github | castellan create secret github --from-file token=- --force`;

export function defineCreateSecret(create: Command, context: VerbContext): void {
  const secret = create
    .command('secret')
    .alias('secrets')
    .description('Create a secret: values that servers use and nobody can read.')
    .argument('<name>', 'its name');
  withServer(secret)
    .option(
      '--from-file <key=path>',
      'a value from a file, or from stdin as KEY=-; may be given again',
      collect,
    )
    .option(
      '--from-env <key=variable>',
      'a value from a variable of this command; may be given again',
      collect,
    )
    .option('--from-literal <key=value>', 'a value as it stands here; may be given again', collect)
    .option('--force', 'replace a secret of this name, with all its values')
    .option('--dry-run', 'check everything, change nothing')
    .showHelpAfterError('Run `castellan create secret --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((name: string, flags: Flags) => run(name, flags, context));
}

function collect(value: string, earlier: readonly string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}

async function run(name: string, flags: Flags, context: VerbContext): Promise<void> {
  const data = await valuesOf(flags, context.env);
  const client = await ServerClient.connect(flags, context);
  const body = { apiVersion: API_VERSION, kind: 'Secret', metadata: { name }, spec: { data } };
  const dryRun = flags.dryRun ? true : undefined;
  const createOnly = flags.force ? undefined : true;
  const { action } = await client.put(`secrets/${encodeURIComponent(name)}`, body, { dryRun, createOnly });
  context.terminal.line(`secret/${name} ${String(action)}${dryRun ? ' (dry run)' : ''}`);
}

async function valuesOf(flags: Flags, env: VerbContext['env']): Promise<Record<string, string>> {
  const { fromLiteral = [], fromFile = [], fromEnv = [] } = flags;
  const data = new Map<string, string>();
  const add = (flag: string, key: string, value: string) => {
    if (data.has(key)) throw usage(`${flag} ${key}=…: the key is given twice`);
    const fault = secretValueFault(value);
    if (fault !== undefined) throw usage(`${flag} ${key}=…: the value ${fault}`);
    data.set(key, value);
  };
  for (const text of fromLiteral) add('--from-literal', ...assignment('--from-literal', text));
  for (const text of fromEnv) {
    const [key, variable] = assignment('--from-env', text);
    add('--from-env', key, variableOf(variable, env));
  }
  const files = fromFile.map((text) => assignment('--from-file', text));
  if (files.filter(([, path]) => path === '-').length > 1)
    throw usage('--from-file KEY=- is given twice; stdin is read once');
  for (const [key, path] of files) {
    add('--from-file', key, withoutLineBreak(path === '-' ? await readStdin() : await textOf(path)));
  }
  if (data.size === 0) throw usage('give at least one of --from-file, --from-env and --from-literal');
  return Object.fromEntries(data);
}

/** Says nothing of what stands after the key: it may be the secret. */
function assignment(flag: string, text: string): [key: string, value: string] {
  const at = text.indexOf('=');
  if (at < 0) throw usage(`${flag}: write KEY=…, the key first`);
  const key = text.slice(0, at);
  const fault = secretKeyFault(key);
  if (fault !== undefined) throw usage(`${flag}: the key before "=" ${fault}`);
  return [key, text.slice(at + 1)];
}

function variableOf(name: string, env: VerbContext['env']): string {
  if (name.toUpperCase().startsWith('CASTELLAN_'))
    throw usage(`--from-env: variable ${name} is Castellan's own and never becomes a secret`);
  const value = env[name];
  if (value === undefined) throw usage(`--from-env: variable ${name} is not set`);
  return value;
}

async function textOf(path: string): Promise<string> {
  const bytes = await readFile(path).catch((error: unknown) => {
    throw failed(`${path} cannot be read: ${messageOf(error)}`);
  });
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw failed(`${path} is no UTF-8 text: encode it, as base64 for example`);
  }
}

function withoutLineBreak(text: string): string {
  return text.replace(/\r?\n$/, '');
}
