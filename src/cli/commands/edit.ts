import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Command } from 'commander';
import { runInTerminal } from '../../base/spawn.ts';
import { type AppliedObject, objectsToApply } from '../../resources/apply.ts';
import { describeProblem } from '../../resources/problems.ts';
import { CommandFailure, Exit, failed, usage } from '../exit.ts';
import { placeOf } from '../object-files.ts';
import { toYaml } from '../output.ts';
import type { AnyObject } from '../printings.ts';
import { ServerClient, type ServerFlags, ServerRefusal, withServer } from '../server-client.ts';
import { storedTarget } from '../targets.ts';
import { unifiedDiff } from '../unified-diff.ts';
import type { VerbContext } from '../verbs.ts';
import { sortedYaml, writtenForm } from '../written-form.ts';

const EXAMPLES = `
The editor is $VISUAL, else $EDITOR, else vi. What cannot be saved comes back with the reason on top; to give up, save
an empty file or what you were shown.

Examples:
  castellan edit server github
  EDITOR="code --wait" castellan edit project demo`;

const HEAD = `# Lines that begin with "#" are left out. Saving applies the object; an empty file changes nothing.\n`;

export function defineEdit(program: Command, context: VerbContext): void {
  const edit = program
    .command('edit')
    .description('Edit one resource in your editor and apply it.')
    .argument('<kind>', 'its kind; KIND/NAME works too')
    .argument('[name]', 'its name or id');
  withServer(edit)
    .showHelpAfterError('Run `castellan edit --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((word: string, name: string | undefined, flags: ServerFlags) => run(word, name, flags, context));
}

async function run(
  word: string,
  name: string | undefined,
  flags: ServerFlags,
  context: VerbContext,
): Promise<void> {
  const { kind, names } = storedTarget(word, name === undefined ? [] : [name], 'edit');
  if (names.length !== 1) throw usage(`name one ${kind.singular}: castellan edit ${kind.singular} NAME`);
  if (kind.kind === 'McpToken') throw usage('a token is not edited: revoke it and create another');
  const editor = context.env.VISUAL || context.env.EDITOR || 'vi';
  const client = await ServerClient.connect(flags, context);
  const object = (await client.get(
    `${kind.plural}/${encodeURIComponent(names[0]!)}`,
  )) as unknown as AnyObject;
  const folder = await mkdtemp(path.join(tmpdir(), 'castellan-edit-'));
  try {
    const file = path.join(folder, `${kind.singular}-${object.metadata.name}.yaml`);
    await new EditSession(client, object, file, editor, context).run();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** One object in an editor, until it is saved or given up. */
class EditSession {
  readonly #client: ServerClient;
  readonly #file: string;
  readonly #editor: string;
  readonly #context: VerbContext;
  /** As the server had it when it was last read. */
  #live: AnyObject;

  constructor(client: ServerClient, live: AnyObject, file: string, editor: string, context: VerbContext) {
    this.#client = client;
    this.#live = live;
    this.#file = file;
    this.#editor = editor;
    this.#context = context;
  }

  async run(): Promise<void> {
    const { terminal } = this.#context;
    const label = `${this.#live.kind.toLowerCase()}/${this.#live.metadata.name}`;
    let shown = toYaml(writtenForm(this.#live));
    let complaint = '';
    // To save the same text over somebody else's change is a decision; to save a faulty one again is none.
    let isDecided = false;
    for (;;) {
      const written = await this.#edited(HEAD + commented(complaint) + shown);
      if (written.trim() === '' || (written === shown && complaint === '')) {
        return terminal.note('nothing was changed');
      }
      if (written === shown && !isDecided) throw failed(`given up, nothing was changed: ${complaint}`);
      const again = await this.#saved(written);
      if ('action' in again) return terminal.line(`${label} ${again.action}`);
      complaint = again.complaint;
      isDecided = again.isConflict;
      shown = written;
    }
  }

  /** What is left of the text when the editor closes, without comments. */
  async #edited(text: string): Promise<string> {
    await writeFile(this.#file, text, { mode: 0o600 });
    const code = await runInTerminal(this.#editor, [this.#file]);
    if (code !== 0) throw failed(`the editor (${this.#editor}) failed; nothing was changed`);
    const lines = (await readFile(this.#file, 'utf8')).split('\n');
    return lines.filter((line) => !line.startsWith('#')).join('\n');
  }

  async #saved(text: string): Promise<{ action: string } | { complaint: string; isConflict: boolean }> {
    const read = this.#read(text);
    if (typeof read === 'string') return { complaint: read, isConflict: false };
    const { path: place } = placeOf(read);
    const { resourceVersion } = this.#live.metadata as { resourceVersion?: string };
    const { apiVersion, kind, metadata, spec } = read;
    const body = { apiVersion, kind, metadata: { ...metadata, resourceVersion }, spec };
    try {
      return { action: String((await this.#client.put(place, body)).action) };
    } catch (error) {
      if (!(error instanceof CommandFailure) || error.exitCode === Exit.unreachable) throw error;
      const isConflict = error instanceof ServerRefusal && error.status === 409;
      const changed = isConflict ? await this.#reread(place) : '';
      return { complaint: changed || error.message, isConflict: changed !== '' };
    }
  }

  /** The object in the text, or why there is none. */
  #read(text: string): AppliedObject | string {
    const { objects, problems } = objectsToApply('this file', text, this.#context.env);
    const [object] = objects;
    const { kind, metadata } = this.#live;
    const faults = [...problems, ...(object?.problems ?? [])];
    if (faults.length > 0) return faults.map(describeProblem).join('\n');
    if (!object || objects.length !== 1) return 'write one object';
    if (object.kind === kind && object.metadata.name === metadata.name) return object;
    return `kind and metadata.name must stay ${kind} and ${metadata.name}`;
  }

  /** What somebody else changed meanwhile; empty when nobody did. */
  async #reread(place: string): Promise<string> {
    const now = (await this.#client.get(place)) as unknown as AnyObject;
    const diff = unifiedDiff(sortedYaml(this.#live), sortedYaml(now), {
      before: 'as you read it',
      after: 'as it is',
    });
    this.#live = now;
    if (diff === '') return '';
    return `somebody changed it meanwhile; saving puts your version over this change:\n${diff}`;
  }
}

function commented(text: string): string {
  return text === ''
    ? ''
    : `${text
        .split('\n')
        .map((line) => `# ${line}`)
        .join('\n')}\n`;
}
