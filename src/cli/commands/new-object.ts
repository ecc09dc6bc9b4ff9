import type { Command } from 'commander';
import { type KindName, kindOf } from '../../resources/kinds.ts';
import { API_VERSION, checkObject } from '../../resources/objects.ts';
import { describeProblems } from '../../resources/problems.ts';
import { locateField } from '../../resources/snapshot.ts';
import { usage } from '../exit.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import type { VerbContext } from '../verbs.ts';

export type CreateFlags = ServerFlags & { dryRun?: boolean };

/** A `create KIND NAME` with the flags that every kind has. */
export function kindCommand(create: Command, word: string, description: string, name: string): Command {
  const command = create.command(word).description(description).argument('<name>', name);
  return withServer(command)
    .option('--dry-run', 'check everything, change nothing')
    .showHelpAfterError(`Run \`castellan create ${word} --help\` for its options.`);
}

/** Creates the object and says so; a secret that comes with it goes to stdout alone. */
export async function putNew(...wish: Parameters<typeof create>): Promise<void> {
  const { secret, said } = await create(...wish);
  const { terminal } = wish[4];
  if (secret === undefined) terminal.line(said);
  else terminal.data(secret);
}

/** Creates the object, never changes one. Fields without a value are left out; what is wrong with them is a usage error. */
export async function create(
  kind: KindName,
  name: string,
  fields: Record<string, unknown>,
  flags: CreateFlags,
  context: VerbContext,
): Promise<{ said: string; secret: string | undefined }> {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  const body = { apiVersion: API_VERSION, kind, metadata: { name }, spec: Object.fromEntries(given) };
  const { problems } = checkObject(body);
  if (problems.length > 0) throw usage(describeProblems(problems.map(locateField)));
  const client = await ServerClient.connect(flags, context);
  const { plural, singular } = kindOf(kind);
  const query = { createOnly: true, dryRun: flags.dryRun ? true : undefined };
  const { secret } = await client.put(`${plural}/${encodeURIComponent(name)}`, body, query);
  const said = `${singular}/${name} created${flags.dryRun ? ' (dry run)' : ''}`;
  return { said, secret: typeof secret === 'string' ? secret : undefined };
}
