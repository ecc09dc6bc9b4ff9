import type { Command } from 'commander';
import { expiryOf } from '../../identity/ttl.ts';
import { type Binding, parseBinding } from '../../resources/bindings.ts';
import { usage } from '../exit.ts';
import { oneOf, repeated } from '../options.ts';
import { type MadeFormat, printMade, withMadeOutput } from '../output.ts';
import { ServerClient, type ServerFlags, ServerRefusal, withServer } from '../server-client.ts';
import { checkedInput, projectOf, withProject } from '../targets.ts';
import type { VerbContext } from '../verbs.ts';
import { defineCreateAccess } from './create-access.ts';
import { defineCreateClient } from './create-client.ts';
import { defineCreateConfig } from './create-config.ts';
import { defineCreateSecret } from './create-secret.ts';

type Flags = ServerFlags & {
  project?: string;
  rbac: 'empty' | 'clone';
  bind?: string[];
  surface?: string[];
  ttl?: string;
  description?: string;
  force?: boolean;
  output: MadeFormat;
};

const EXAMPLES = `
The token alone goes to stdout, once; it is kept nowhere.

Examples:
  castellan create mcptoken laptop -p demo --rbac clone --ttl 30d
  castellan create mcptoken reader -p demo --bind role:run,resource:tools,name:github__get_*
  export CASTELLAN_TOKEN=$(castellan create mcptoken ci -p demo --rbac clone --force)`;

export function defineCreate(program: Command, context: VerbContext): void {
  const create = program.command('create').description('Create one resource from flags.');
  const token = create
    .command('mcptoken')
    .aliases(['token', 'mcptokens'])
    .description('Create a token for one agent, scoped to one project.')
    .argument('<name>', 'its name in the project');
  withServer(withMadeOutput(withProject(token)))
    .addOption(
      oneOf('--rbac <how>', 'rights to start with: none, or a copy of yours', ['empty', 'clone'], 'empty'),
    )
    .option(
      '--bind <binding>',
      'a right: role:R,resource:R[,name:GLOB][,project:P] or action:A; may be given again',
      repeated,
    )
    .option('--surface <surface>', 'consumer or operator; may be given again (default: consumer)', repeated)
    .option('--ttl <time>', '30d, 12h, never, or an ISO 8601 date (default: never)')
    .option('--description <text>', 'what it is for')
    .option('--force', 'revoke an active token of this name first')
    .showHelpAfterError('Run `castellan create mcptoken --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action((name: string, flags: Flags) => createToken(name, flags, context));
  defineCreateAccess(create, context);
  defineCreateConfig(create, context);
  defineCreateSecret(create, context);
  defineCreateClient(create, context);
}

async function createToken(name: string, flags: Flags, context: VerbContext): Promise<void> {
  const { terminal } = context;
  const binds = (flags.bind ?? []).map((text): Binding => checkedInput(() => parseBinding(text, '--bind')));
  const surfaces = flags.surface ?? ['consumer'];
  const wrong = surfaces.find((surface) => surface !== 'consumer' && surface !== 'operator');
  if (wrong !== undefined) throw usage(`--surface "${wrong}" is unknown: use consumer or operator`);
  const { ttl } = flags;
  if (ttl !== undefined) checkedInput(() => expiryOf(ttl, Date.now(), '--ttl'));
  const client = await ServerClient.connect(flags, context);
  const project = await projectOf(flags.project, client, context);
  const { rbac, description, force } = flags;
  const wanted = { name, project, rbac, binds, surfaces, ttl, description, force };
  const made = await client.post('mcptokens', wanted).catch((error: unknown) => {
    // Everything in the request was a flag or an argument.
    if (error instanceof ServerRefusal && error.status === 400) throw usage(error.message);
    throw error;
  });
  printMade(terminal, flags.output, made, 'token');
  if (rbac === 'empty' && binds.length === 0) {
    terminal.warn(
      `${name} starts without rights of its own; grant them with --rbac clone or --bind role:run,resource:tools`,
    );
  }
}
