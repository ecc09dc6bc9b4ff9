import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Cancellation } from '../../src/base/cancellation.ts';
import type { ToolsetCall } from '../../src/gateway/toolset.ts';
import { Authorizer } from '../../src/identity/authorizer.ts';
import { authenticatedCaller } from '../../src/identity/caller.ts';
import type { Binding } from '../../src/resources/bindings.ts';
import type { RepositoryEntry, RepositorySpec } from '../../src/resources/spec.ts';
import type { Git } from '../../src/toolsets/review/git.ts';
import { reviewToolset } from '../../src/toolsets/review/review.ts';
import type { Loose } from './agent.ts';

/** Git as its user would run it, apart from settings of this machine. */
export function git(folder: string, ...args: string[]): string {
  return execFileSync('git', args, {
    cwd: folder,
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH,
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_AUTHOR_NAME: 'Ann',
      GIT_AUTHOR_EMAIL: 'ann@example.com',
      GIT_COMMITTER_NAME: 'Ann',
      GIT_COMMITTER_EMAIL: 'ann@example.com',
    },
  });
}

export function write(folder: string, files: Readonly<Record<string, string | Buffer>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    writeFileSync(path.join(folder, name), text);
  }
}

/** Makes a commit of everything there is; its id. */
export function commit(folder: string, message: string): string {
  git(folder, 'add', '--all');
  git(folder, 'commit', '--quiet', '--message', message);
  return git(folder, 'rev-parse', 'HEAD').trim();
}

export type Answer = {
  ok: boolean;
  code?: string;
  message: string;
  field?: string;
  structured: Loose;
  text?: string;
};

type Spec = { path: string } & Partial<RepositorySpec>;

/** The tools over some repositories, asked by somebody with `bindings`. */
export function reviewOf(
  repositories: Readonly<Record<string, Spec>>,
  bindings: Binding[] = [{ role: 'view', resource: 'repositories' }],
  runner?: Git,
) {
  const entries = new Map<string, RepositoryEntry>(
    Object.entries(repositories).map(([name, spec]) => {
      const full = { refs: ['*'], ignore: [], description: undefined, ...spec };
      return [name, { name, uid: name, error: undefined, spec: full }];
    }),
  );
  const subjects = [{ kind: 'User', name: 'ann@example.com' }] as const;
  const user = { name: 'ann@example.com', uid: 'u', disabled: false, groups: [] };
  const access = {
    users: new Map([[user.name, user]]),
    groups: new Set<string>(),
    rbacs: new Map([['r', { name: 'r', uid: 'r', subjects, bindings }]]),
  };
  const caller = authenticatedCaller({
    principal: 'User:ann@example.com',
    owner: 'ann@example.com',
    ceilings: [],
    project: '*',
    surfaces: new Set(['operator']),
  });
  const toolset = reviewToolset({
    snapshot: () => ({ repositories: entries }),
    authorizer: new Authorizer(() => access),
    ...(runner ? { git: runner } : {}),
  });
  const ask = async (name: string, args: object, cancellation = new Cancellation()): Promise<Answer> => {
    const tool = toolset.tools.find((one) => one.name === name);
    assert.ok(tool, name);
    const parsed = tool.input.safeParse(args);
    if (!parsed.success)
      return { ok: false, code: 'INVALID_ARGUMENT', message: parsed.error.message, structured: undefined };
    const scope = { project: { name: 'demo' } } as unknown as ToolsetCall['scope'];
    const call: ToolsetCall = { caller, scope, cancellation, intent: undefined };
    const answer = (await tool.run(parsed.data as never, call)) as Answer;
    if (answer.ok) tool.output.parse(answer.structured);
    return answer;
  };
  /** The answer to a call that is not refused. */
  const get = async (name: string, args: object = {}): Promise<Loose> => {
    const answer = await ask(name, args);
    assert.ok(answer.ok, answer.message);
    return answer.structured;
  };
  /** All items of all pages. */
  const all = async (name: string, args: object, items: string): Promise<Loose[]> => {
    const found: Loose[] = [];
    for (let cursor: string | undefined; ; ) {
      const page = await get(name, cursor === undefined ? args : { ...args, cursor });
      assert.equal(page.count, page[items].length);
      found.push(...page[items]);
      cursor = page.next_cursor;
      if (cursor === undefined) return found;
    }
  };
  return { toolset, ask, get, all };
}
