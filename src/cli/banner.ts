import { relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RunningCastellan } from '../app-options.ts';
import type { ServeSettings } from './serve-settings.ts';

type Ready = Pick<RunningCastellan, 'url' | 'projects' | 'fileTokens' | 'firstLink'>;

/**
 * What a person needs after the start: where agents connect, with which token, and something to try that works as
 * printed. A raw token is shown at the start that made it and never again.
 */
export function banner(
  { url, projects, fileTokens, firstLink }: Ready,
  settings: Pick<ServeSettings, 'dataDir'>,
): string {
  const program = programHere();
  const here = dataDirFlag(settings.dataDir);
  const lines = ['', `Castellan is running.  ${url}/`, ''];
  for (const project of projects) lines.push(`  MCP URL   ${endpointOf(url, project)}`);
  if (projects.length === 0) {
    lines.push(`  No project yet: write one to a file and run  ${program} apply -f FILE${here}`);
  }
  for (const { name, project, raw } of fileTokens) {
    const another = `${program} create mcptoken NAME -p ${project} --rbac clone${here}`;
    const shown =
      raw === undefined
        ? `${name} of ${project} exists already; for another one:  ${another}`
        : `${raw}   (${name}, shown this once)`;
    lines.push(`  Token     ${shown}`);
  }
  if (firstLink) {
    const until = new Date(firstLink.expiresAt).toISOString().slice(0, 16).replace('T', ' ');
    lines.push('', '  Set the password of admin, to sign in with a browser (works once, until');
    lines.push(`  ${until} UTC; another link:  ${program} rotate user admin${here}):`, '');
    lines.push(`    ${url}/invite/${firstLink.code}`);
  }
  const project = fileTokens[0]?.project ?? projects[0];
  if (project === undefined) return `${lines.join('\n')}\n`;
  const fresh = fileTokens.find((token) => token.project === project && token.raw !== undefined);
  const attempt = fresh
    ? `CASTELLAN_TOKEN=${fresh.raw} ${program} test mcp ${endpointOf(url, project)}`
    : `${program} get tools -p ${project}${here}`;
  return `${[...lines, '', '  Try it in another terminal:', '', `    ${attempt}`].join('\n')}\n`;
}

function endpointOf(url: string, project: string): string {
  return `${url}/projects/${encodeURIComponent(project)}/mcp`;
}

/** How to run this very program from the current folder. */
function programHere(): string {
  const root = fileURLToPath(new URL('../../', import.meta.url));
  if (root.split(sep).includes('node_modules')) {
    return root.startsWith(resolve('.') + sep) ? 'npx castellan' : 'castellan';
  }
  const launcher = `${root}bin/castellan`;
  const fromHere = relative('.', launcher);
  return quoted(fromHere.startsWith('..') ? launcher : fromHere);
}

/** Empty where the command finds the data directory by itself, whatever the other terminal's environment. */
function dataDirFlag(dataDir: string): string {
  return resolve(dataDir) === resolve('.castellan') ? '' : ` --data-dir ${quoted(dataDir)}`;
}

function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
