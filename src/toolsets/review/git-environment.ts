import { devNull } from 'node:os';
import { join } from 'node:path';

/** Where a repository lies; both are real paths. */
export type RepositoryPlace = {
  gitDir: string;
  /** Undefined for a bare repository. */
  workTree: string | undefined;
};

/**
 * Settings that win over those of the repository. They take away what would run a program, reach another machine, write,
 * or give the output another shape.
 */
const OVERRIDES: Readonly<Record<string, string>> = {
  'core.fsmonitor': 'false',
  'core.hooksPath': devNull,
  'core.pager': 'cat',
  'core.sshCommand': 'false',
  'core.askPass': '',
  'core.attributesFile': devNull,
  'core.excludesFile': devNull,
  'core.alternateRefsCommand': '',
  'core.quotePath': 'false',
  'core.useReplaceRefs': 'false',
  'credential.helper': '',
  'protocol.allow': 'never',
  'log.showSignature': 'false',
  'log.mailmap': 'false',
  'mailmap.file': devNull,
  'mailmap.blob': '',
  'diff.external': '',
  'diff.noprefix': 'false',
  'diff.mnemonicPrefix': 'false',
  'diff.orderFile': devNull,
  'diff.renameLimit': '1000',
  'diff.submodule': 'short',
  'diff.ignoreSubmodules': 'dirty',
  'submodule.recurse': 'false',
  'grep.fallbackToNoIndex': 'false',
  'grep.fullName': 'true',
  'color.ui': 'false',
  'gc.auto': '0',
  'maintenance.auto': 'false',
};

/** Settings of a repository that name a program and have a name of their own in the middle. */
const PROGRAMS = /^filter\..*\.(clean|smudge|process)$|^diff\..*\.(command|textconv)$/is;
const REQUIRED = /^(filter\..*)\.(?:clean|smudge|process)$/is;

/** The settings which silence those of `keys` that would run a program. */
export function silenced(keys: readonly string[]): Record<string, string> {
  const settings: Record<string, string> = {};
  for (const key of keys) {
    if (PROGRAMS.test(key)) settings[key] = '';
    const filter = REQUIRED.exec(key)?.[1];
    if (filter !== undefined) settings[`${filter}.required`] = 'false';
  }
  return settings;
}

/** The whole environment of one git process: of ours it has the search path alone. */
export function gitEnvironment(
  { gitDir, workTree }: RepositoryPlace,
  more: Readonly<Record<string, string>> = {},
  path = process.env.PATH ?? '/usr/local/bin:/usr/bin:/bin',
): Record<string, string> {
  const env: Record<string, string> = {
    PATH: path,
    LC_ALL: 'C',
    GIT_DIR: gitDir,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: devNull,
    GIT_ATTR_NOSYSTEM: '1',
    GIT_NO_REPLACE_OBJECTS: '1',
    GIT_GRAFT_FILE: devNull,
    GIT_NO_LAZY_FETCH: '1',
    GIT_OPTIONAL_LOCKS: '0',
    GIT_LITERAL_PATHSPECS: '1',
    GIT_TERMINAL_PROMPT: '0',
    // An empty list: no way to reach another repository is allowed.
    GIT_ALLOW_PROTOCOL: '',
    GIT_PAGER: 'cat',
  };
  if (workTree !== undefined) env.GIT_WORK_TREE = workTree;
  if (process.platform === 'win32') env.SYSTEMROOT = process.env.SYSTEMROOT ?? '';
  const settings = Object.entries({
    ...OVERRIDES,
    'safe.directory': workTree ?? join(gitDir),
    ...more,
  });
  settings.forEach(([key, value], index) => {
    env[`GIT_CONFIG_KEY_${index}`] = key;
    env[`GIT_CONFIG_VALUE_${index}`] = value;
  });
  env.GIT_CONFIG_COUNT = String(settings.length);
  return env;
}
