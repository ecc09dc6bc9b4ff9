import type { Command } from 'commander';
import type { FreezeObject } from '../../http/api/freeze-routes.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { withProject } from '../targets.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = ServerFlags & { project?: string; reason?: string };

const EXAMPLES = `
Stops what is new within five seconds, on every server of the database; calls in flight end by themselves. Without -p
every project is frozen. It stays so over a restart, until castellan unfreeze.

Examples:
  castellan freeze -p demo --reason "strange calls at night"
  castellan freeze`;

export function defineFreeze(program: Command, context: VerbContext): void {
  const freeze = program
    .command('freeze')
    .description('Stop all calls of a project, or of everything.')
    .option('--reason <text>', 'said to whoever calls, and kept in the audit');
  withServer(withProject(freeze))
    .showHelpAfterError('Run `castellan freeze --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action(async (flags: Flags) => {
      const client = await ServerClient.connect(flags, context);
      await client.put(pathOf(flags), { reason: flags.reason ?? '' });
      context.terminal.line(`${scopeText(flags)} frozen`);
    });
}

export function defineUnfreeze(program: Command, context: VerbContext): void {
  const unfreeze = program.command('unfreeze').description('Let the calls that freeze stopped go on.');
  withServer(withProject(unfreeze))
    .showHelpAfterError('Run `castellan unfreeze --help` for its options.')
    .action(async (flags: Flags) => {
      const client = await ServerClient.connect(flags, context);
      await client.delete(pathOf(flags));
      context.terminal.line(`${scopeText(flags)} unfrozen`);
      const { items } = await client.get('freezes');
      const rest = (items as FreezeObject[]).find(({ project }) => project === undefined);
      if (rest && flags.project !== undefined)
        context.terminal.warn(`every project is still frozen: castellan unfreeze, without -p, ends that`);
    });
}

function pathOf({ project }: Flags): string {
  return `freezes/${encodeURIComponent(project ?? '*')}`;
}

function scopeText({ project }: Flags): string {
  return project === undefined ? 'all projects' : `project/${project}`;
}
