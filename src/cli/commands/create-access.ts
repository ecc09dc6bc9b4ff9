import type { Command } from 'commander';
import { subjectFault } from '../../resources/access-fields.ts';
import { type Binding, parseBinding } from '../../resources/bindings.ts';
import type { Subject } from '../../resources/spec.ts';
import { usage } from '../exit.ts';
import { repeated } from '../options.ts';
import { type MadeFormat, printMade } from '../output.ts';
import { ServerClient } from '../server-client.ts';
import { checkedInput } from '../targets.ts';
import type { VerbContext } from '../verbs.ts';
import { type CreateFlags, create, kindCommand, putNew } from './new-object.ts';

type Common = CreateFlags & { description?: string };
type UserFlags = Common & {
  group?: string[];
  displayName?: string;
  disabled?: boolean;
  invite?: boolean;
};
type RbacFlags = Common & { subject?: string[]; roleBindings?: string[] };

const RBAC_EXAMPLES = `
A binding is role:ROLE,resource:RESOURCE[,name:GLOB][,project:PROJECT], or action:ACTION.

Examples:
  castellan create rbac developers --subject User:alice@example.com --roleBindings role:edit,resource:servers
  castellan create rbac oncall --subject Group:oncall --roleBindings role:approve,resource:approvals,project:demo`;

const USER_EXAMPLES = `
With --invite a one-time link goes to stdout. Whoever opens it sets the password: hand it over as you would a key.

Example:
  castellan create user alice@example.com --group oncall --invite`;

/** `create user`, `create group` and `create rbac`: who there is, and what they may do. */
export function defineCreateAccess(create: Command, context: VerbContext): void {
  kindCommand(create, 'user', 'Create a user.', 'e-mail address')
    .option('-g, --group <group>', 'a group to be in; may be given again', repeated)
    .option('--display-name <name>', 'what to call the person')
    .option('--disabled', 'without any right until this is taken back')
    .option('--invite', 'print a one-time link by which the person sets a password')
    .addHelpText('after', USER_EXAMPLES)
    .action((name: string, flags: UserFlags) => createUser(name, flags, context));
  kindCommand(create, 'group', 'Create a group. Users name the groups that they are in.', 'its name')
    .option('--description <text>', 'what it is for')
    .action((name: string, flags: Common) =>
      putNew('Group', name, { description: flags.description }, flags, context),
    );
  kindCommand(create, 'rbac', 'Grant rights to users, groups and tokens.', 'its name')
    .option('--subject <subject>', 'User:EMAIL, Group:NAME or McpToken:ID; may be given again', repeated)
    .option('--roleBindings <binding>', 'a right; may be given again', repeated)
    .option('--description <text>', 'what it is for')
    .addHelpText('after', RBAC_EXAMPLES)
    .action((name: string, flags: RbacFlags) => {
      const spec = {
        description: flags.description,
        subjects: (flags.subject ?? []).map(subjectOf),
        roleBindings: (flags.roleBindings ?? []).map(
          (text): Binding => checkedInput(() => parseBinding(text, '--roleBindings')),
        ),
      };
      return putNew('Rbac', name, spec, flags, context);
    });
}

async function createUser(name: string, flags: UserFlags, context: VerbContext): Promise<void> {
  const { group, displayName, disabled, invite } = flags;
  if (invite && (disabled || flags.dryRun))
    throw usage(`--invite does not go with --${disabled ? 'disabled' : 'dry-run'}: leave one out`);
  const { said } = await create('User', name, { displayName, disabled, groups: group }, flags, context);
  if (!invite) return context.terminal.line(said);
  context.terminal.hint(said);
  await printPasswordLink(name, await ServerClient.connect(flags, context), context);
}

/** The link alone goes to stdout. */
export async function printPasswordLink(
  name: string,
  client: ServerClient,
  { terminal }: Pick<VerbContext, 'terminal'>,
  output: MadeFormat = 'text',
): Promise<void> {
  const made = await client.post(`users/${encodeURIComponent(name)}/rotate`);
  printMade(terminal, output, made, 'url');
  terminal.hint(`${name} sets a password there, once, until ${String(made.expiresAt)}`);
}

function subjectOf(text: string): Subject {
  const [, kind, name] = /^(User|Group|McpToken):(.+)$/.exec(text) ?? [];
  if (kind === undefined || name === undefined)
    throw usage(`--subject "${text}": write User:EMAIL, Group:NAME or McpToken:ID`);
  const subject = { kind, name } as Subject;
  const fault = subjectFault(subject);
  if (fault !== undefined) throw usage(`--subject "${text}": ${fault}`);
  return subject;
}
