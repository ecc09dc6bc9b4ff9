import { MARKER_VARIABLE } from './process-tree.ts';

/** What a child inherits: what programs need to find themselves, their caches and the network, and nothing of ours. */
const INHERITED = new Set(
  [
    ['HOME', 'PATH', 'USER', 'LOGNAME', 'SHELL', 'LANG', 'LANGUAGE', 'TERM', 'TMPDIR', 'TMP', 'TEMP', 'TZ'],
    ['XDG_CACHE_HOME', 'XDG_CONFIG_HOME', 'XDG_DATA_HOME', 'XDG_STATE_HOME', 'XDG_RUNTIME_DIR'],
    ['npm_config_cache', 'npm_config_registry', 'npm_config_userconfig', 'UV_CACHE_DIR', 'UV_PYTHON'],
    ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE'],
    ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY'],
    [
      'APPDATA',
      'LOCALAPPDATA',
      'HOMEDRIVE',
      'HOMEPATH',
      'USERPROFILE',
      'USERNAME',
      'SYSTEMDRIVE',
      'SYSTEMROOT',
    ],
    ['COMSPEC', 'PATHEXT', 'PROGRAMFILES', 'PROGRAMDATA', 'PROCESSOR_ARCHITECTURE'],
  ]
    .flat()
    .map((name) => name.toUpperCase()),
);

/**
 * The whole environment of a child: the allowlisted part of `from`, the child's `own` variables over it, and the
 * marker by which it is found again. Bash functions (values that start with `()`) are never passed on.
 */
export function childEnvironment(
  own: Readonly<Record<string, string>>,
  marker: string,
  from: NodeJS.ProcessEnv = process.env,
): Record<string, string> {
  const env: Record<string, string> = { [MARKER_VARIABLE]: marker };
  for (const [name, value] of Object.entries(from)) {
    if (value === undefined || value.startsWith('()')) continue;
    const upper = name.toUpperCase();
    if (INHERITED.has(upper) || upper.startsWith('LC_')) env[name] = value;
  }
  for (const [name, value] of Object.entries(own)) if (name !== MARKER_VARIABLE) env[name] = value;
  return env;
}
