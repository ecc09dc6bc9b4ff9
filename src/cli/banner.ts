import type { RunningCastellan } from '../app.ts';

/**
 * What a person needs after the start: where agents connect, with which token, and something to try. A raw token is
 * shown at the start that made it and never again.
 */
export function banner(
  running: Pick<RunningCastellan, 'url' | 'projects' | 'fileTokens'>,
  program: string,
): string {
  const { url, projects, fileTokens } = running;
  const lines = ['', `Castellan is running.  ${url}/`, ''];
  for (const project of projects) lines.push(`  MCP URL   ${url}/projects/${project}/mcp`);
  if (projects.length === 0)
    lines.push(`  No project yet: write one to a file and run  ${program} apply -f FILE`);
  for (const { name, project, raw } of fileTokens) {
    lines.push(
      raw === undefined
        ? `  Token     ${name} of ${project} exists already; for another one:  ${program} create mcptoken NAME -p ${project} --rbac clone`
        : `  Token     ${raw}   (${name}, shown this once)`,
    );
  }
  const project = fileTokens[0]?.project ?? projects[0];
  if (project !== undefined)
    lines.push('', '  Try it in another terminal:', '', `    ${attempt(url, project, fileTokens, program)}`);
  return `${lines.join('\n')}\n\n`;
}

function attempt(
  url: string,
  project: string,
  fileTokens: RunningCastellan['fileTokens'],
  program: string,
): string {
  const fresh = fileTokens.find((token) => token.project === project && token.raw !== undefined);
  if (!fresh) return `${program} get tools -p ${project}`;
  return `CASTELLAN_TOKEN=${fresh.raw} ${program} test mcp ${url}/projects/${project}/mcp`;
}

/** How this process was started, as someone would type it. */
export function programName(env: Readonly<Record<string, string | undefined>>): string {
  return env.npm_lifecycle_event === 'start' ? 'bin/castellan' : 'castellan';
}
