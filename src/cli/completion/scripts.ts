import type { CommandNode } from './command-tree.ts';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** The script that teaches a shell the commands; names of objects it asks of `castellan __complete` when it needs them. */
export function completionScript(shell: Shell, tree: readonly CommandNode[]): string {
  return { bash, zsh, fish }[shell](tree);
}

/** `a|b|c` of what leads to a command below the program, each behind the path so far. */
function steps(tree: readonly CommandNode[], quote: (text: string) => string): string[] {
  return tree
    .filter(({ path }) => path !== '')
    .map(({ path }) => quote(path.includes(' ') ? path : ` ${path}`));
}

const single = (text: string) => `'${text}'`;

function cases(tree: readonly CommandNode[]): string {
  return tree
    .map(
      ({ path, words, flags }) => `    '${path}') words='${words.join(' ')}' flags='${flags.join(' ')}' ;;`,
    )
    .join('\n');
}

function bash(tree: readonly CommandNode[]): string {
  return `# castellan completion for bash: source <(castellan completion bash)
_castellan() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}"
  local verb='' word words flags index
  for ((index = 1; index < COMP_CWORD; index++)); do
    word="\${COMP_WORDS[index]}"
    case "$verb $word" in
      ${steps(tree, single).join('|')}) verb="\${verb:+$verb }$word" ;;
    esac
  done
  case "$verb" in
${cases(tree)}
  esac
  if [[ "$current" == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$current"))
  elif [[ -n "$words" && "$previous" != -* ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$current"))
  else
    local IFS=$'\\n'
    COMPREPLY=($(compgen -W "$("\${COMP_WORDS[0]}" __complete "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)" -- "$current"))
  fi
}
complete -o default -F _castellan castellan
`;
}

function zsh(tree: readonly CommandNode[]): string {
  return `#compdef castellan
# castellan completion for zsh: source <(castellan completion zsh)
_castellan() {
  local current="\${words[CURRENT]}" previous="\${words[CURRENT-1]}"
  local -a line=("\${(@)words[1,CURRENT]}") found
  local verb='' word words flags
  integer index
  for ((index = 2; index < \${#line}; index++)); do
    word="\${line[index]}"
    case "$verb $word" in
      (${steps(tree, single).join('|')}) verb="\${verb:+$verb }$word" ;;
    esac
  done
  case "$verb" in
${cases(tree).replace(/^ {4}'/gm, "    ('")}
  esac
  if [[ "$current" == -* ]]; then
    compadd -- \${=flags}
  elif [[ -n "$words" && "$previous" != -* ]]; then
    compadd -- \${=words}
  else
    found=(\${(f)"$("\${line[1]}" __complete "\${(@)line[2,-1]}" 2>/dev/null)"})
    if (( \${#found} )); then compadd -- "\${(@)found}"; else _files; fi
  fi
}
compdef _castellan castellan
`;
}

function fish(tree: readonly CommandNode[]): string {
  const branches = tree.map(
    ({ path, words, flags }) => `    case '${path}'
      set words ${words.join(' ')}
      set flags ${flags.join(' ')}`,
  );
  return `# castellan completion for fish: castellan completion fish | source
function __castellan_complete
  set -l line (commandline -opc)
  set -l current (commandline -ct)
  set -l verb ''
  for word in $line[2..-1]
    switch "$verb $word"
      case ${steps(tree, single).join(' ')}
        set verb (string trim "$verb $word")
    end
  end
  set -l words
  set -l flags
  switch "$verb"
${branches.join('\n')}
  end
  if string match -q -- '-*' "$current"
    printf '%s\\n' $flags
  else if test (count $words) -gt 0; and not string match -q -- '-*' "$line[-1]"
    printf '%s\\n' $words
  else
    $line[1] __complete $line[2..-1] "$current" 2>/dev/null
  end
end
complete -c castellan -f -a '(__castellan_complete)'
`;
}
