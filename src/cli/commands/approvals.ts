import { type Command, Option } from 'commander';
import { APPROVAL_STATES } from '../../approvals/approval.ts';
import type { ApprovalView, ToldApprovalView } from '../../approvals/approval-view.ts';
import { withHiddenShown } from '../../base/hidden-characters.ts';
import { failed } from '../exit.ts';
import { watchList } from '../object-watch.ts';
import { type OutputFormat, printItem, printItems, withOutput } from '../output.ts';
import { approvalPrinting } from '../printings.ts';
import { ServerClient, type ServerFlags, withServer } from '../server-client.ts';
import { withProject } from '../targets.ts';
import { cleanLine } from '../terminal.ts';
import type { VerbContext } from '../verbs.ts';

type Flags = ServerFlags & {
  output: OutputFormat;
  project?: string;
  state?: string;
  watch?: boolean;
  reason?: string;
  outcome?: string;
};

const EXAMPLES = `
A policy with action: approve holds a call until somebody decides here, on the page of the call, or by a token of
somebody else. Approving makes the call.

Examples:
  castellan approvals list --state pending
  castellan approvals list -w
  castellan approvals get apr_6cV1
  castellan approvals approve apr_6cV1
  castellan approvals reject apr_6cV1 --reason "not on a Friday"
  castellan approvals resolve apr_6cV1 --outcome succeeded`;

export function defineApprovals(program: Command, context: VerbContext): void {
  const approvals = program
    .command('approvals')
    .description('Calls that wait for a decision: look at them, and decide.')
    .addHelpText('after', EXAMPLES);

  const list = approvals.command('list').description('List approvals, the newest first.');
  withServer(withOutput(withProject(list)))
    .addOption(new Option('--state <state>', 'only those in this state').choices(APPROVAL_STATES))
    .option('-w, --watch', 'then print every change, until it is stopped')
    .showHelpAfterError('Run `castellan approvals list --help` for its options.')
    .action((flags: Flags) => runList(flags, context));

  const get = approvals.command('get').description('Show one, with every argument of its call.');
  withServer(withOutput(get.argument('<id>'), null))
    .showHelpAfterError('Run `castellan approvals get --help` for its options.')
    .action((id: string, flags: Flags) => runGet(id, flags, context));

  const approve = approvals.command('approve').description('Have the call made, and wait for its end.');
  deciding(approve, context, 'approve', () => ({}));
  const reject = approvals.command('reject').description('Refuse the call.');
  deciding(reject.option('--reason <text>', 'said to whoever called'), context, 'reject', reasonIn);
  const cancel = approvals.command('cancel').description('Take a call back that waits.');
  deciding(cancel.option('--reason <text>', 'said to whoever called'), context, 'cancel', reasonIn);
  const resolve = approvals.command('resolve').description('Say how a call ended of which nobody knows.');
  resolve.addOption(
    new Option('--outcome <outcome>', 'what you found out')
      .choices(['succeeded', 'failed'])
      .makeOptionMandatory(),
  );
  deciding(resolve, context, 'resolve', ({ outcome }) => ({ outcome }));
}

const reasonIn = ({ reason }: Flags) => (reason === undefined ? {} : { reason });

function deciding(
  command: Command,
  context: VerbContext,
  verb: string,
  bodyOf: (flags: Flags) => object,
): void {
  withServer(withOutput(command.argument('<id>'), null))
    .showHelpAfterError(`Run \`castellan approvals ${verb} --help\` for its options.`)
    .action(async (id: string, flags: Flags) => {
      const client = await ServerClient.connect(flags, context);
      const path = `approvals/${encodeURIComponent(id)}/${verb}`;
      const approval = (await client.post(path, bodyOf(flags))) as unknown as ApprovalView;
      if (flags.output) printItem(context.terminal, flags.output, approval, approvalPrinting);
      else context.terminal.line(`approval/${approval.id} ${approval.state}`);
      if (verb === 'approve' && (approval.state === 'failed' || approval.state === 'unknown'))
        throw failed(
          approval.state === 'failed'
            ? 'the call was made, and it failed'
            : 'the call was sent, and nobody knows what became of it: castellan approvals resolve says so',
        );
    });
}

async function runList(flags: Flags, context: VerbContext): Promise<void> {
  const client = await ServerClient.connect(flags, context);
  const query = { project: flags.project, state: flags.state };
  const list = async () => (await client.get('approvals', query)).items as unknown as ApprovalView[];
  if (flags.watch) return watchList(list, ({ id }) => id, approvalPrinting, flags.output, context.terminal);
  printItems(context.terminal, flags.output, await list(), approvalPrinting);
}

async function runGet(id: string, flags: Flags, context: VerbContext): Promise<void> {
  const { terminal } = context;
  const client = await ServerClient.connect(flags, context);
  const approval = (await client.get(`approvals/${encodeURIComponent(id)}`)) as unknown as ToldApprovalView;
  if (flags.output) return printItem(terminal, flags.output, approval, approvalPrinting);
  const { arguments: args, notices = [], ...facts } = approval;
  for (const [name, value] of Object.entries(facts))
    terminal.line(
      cleanLine(`${`${name}:`.padEnd(14)} ${Array.isArray(value) ? value.join(', ') : value}`, 400),
    );
  for (const { event, state, madeAt, attempts, nextAt, problem } of notices) {
    const tried = state === 'waiting' && attempts > 0 ? `, again at ${nextAt}` : '';
    const why = problem === undefined ? '' : `: ${problem}`;
    terminal.line(
      cleanLine(
        `${'notice:'.padEnd(14)} ${madeAt} ${event}, ${state} (${attempts} tries)${tried}${why}`,
        400,
      ),
    );
  }
  terminal.line('arguments:');
  terminal.line(withHiddenShown(JSON.stringify(args, null, 2)));
}
