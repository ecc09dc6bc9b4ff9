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

/** Creates the object and says so. */
export async function putNew(...wish: Parameters<typeof create>): Promise<void> {
  wish[4].terminal.line(await create(...wish));
}

/** Creates the object, never changes one; the answer is the sentence that says so. Fields without a value are left out; what is wrong with them is a usage error. */
export async function create(
  kind: KindName,
  name: string,
  fields: Record<string, unknown>,
  flags: CreateFlags,
  context: VerbContext,
): Promise<string> {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  const body = { apiVersion: API_VERSION, kind, metadata: { name }, spec: Object.fromEntries(given) };
  const { problems } = checkObject(body);
  if (problems.length > 0) throw usage(describeProblems(problems.map(locateField)));
  const client = await ServerClient.connect(flags, context);
  const { plural, singular } = kindOf(kind);
  const query = { createOnly: true, dryRun: flags.dryRun ? true : undefined };
  await client.put(`${plural}/${encodeURIComponent(name)}`, body, query);
  return `${singular}/${name} created${flags.dryRun ? ' (dry run)' : ''}`;
}
