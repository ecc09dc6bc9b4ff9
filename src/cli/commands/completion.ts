import type { Command } from 'commander';
import { commandTree } from '../completion/command-tree.ts';
import { completionScript, SHELLS } from '../completion/scripts.ts';
import { usage } from '../exit.ts';
import type { VerbContext } from '../verbs.ts';

const EXAMPLES = `
Examples:
  source <(castellan completion bash)       # in ~/.bashrc
  source <(castellan completion zsh)        # in ~/.zshrc, after compinit
  castellan completion fish | source        # in ~/.config/fish/config.fish`;

export function defineCompletion(program: Command, context: VerbContext): void {
  program
    .command('completion')
    .description('Print the script that completes verbs, options and names in your shell.')
    .argument('<shell>', SHELLS.join(', '))
    .showHelpAfterError('Run `castellan completion --help` for its options.')
    .addHelpText('after', EXAMPLES)
    .action(async (word: string) => {
      const shell = SHELLS.find((one) => one === word);
      if (!shell) throw usage(`"${word}" is no shell that is known here: use one of ${SHELLS.join(', ')}`);
      context.terminal.data(completionScript(shell, commandTree(await context.wholeProgram())));
    });
}
