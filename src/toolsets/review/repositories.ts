import { realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ToolsetAnswer, ToolsetCall } from '../../gateway/toolset.ts';
import type { Authorizer } from '../../identity/authorizer.ts';
import { bindingText } from '../../resources/bindings.ts';
import type { RepositoryEntry, RepositorySpec } from '../../resources/spec.ts';
import { Code } from './code.ts';
import { codePath } from './code-paths.ts';
import type { Git } from './git.ts';
import type { RepositoryPlace } from './git-environment.ts';
import { codeAt } from './refs.ts';

export type Refused = Extract<ToolsetAnswer, { ok: false }>;
export type Found<T> = { ok: true; value: T } | Refused;

/** What a call of nearly every tool names. */
export type Named = { repository?: string | undefined; ref?: string | undefined; path?: string | undefined };

/** A repository that the caller may view. */
export type Opened = { name: string; spec: RepositorySpec; place: RepositoryPlace; call: ToolsetCall };

/** A refusal that begins with the field's name, as all of them do. */
export function refusal(field: string, message: string, code: Refused['code'] = 'INVALID_ARGUMENT'): Refused {
  return { ok: false, code, message: `${field}: ${message}`, field };
}

/** The registered repositories, as far as each caller may view them. */
export class Repositories {
  readonly #entries: () => ReadonlyMap<string, RepositoryEntry>;
  readonly #authorizer: Pick<Authorizer, 'decide'>;
  readonly #git: Git;

  constructor(
    entries: () => ReadonlyMap<string, RepositoryEntry>,
    authorizer: Pick<Authorizer, 'decide'>,
    git: Git,
  ) {
    this.#entries = entries;
    this.#authorizer = authorizer;
    this.#git = git;
  }

  visible({ caller, scope }: ToolsetCall): RepositoryEntry[] {
    const project = scope.project.name;
    return [...this.#entries().values()].filter(
      ({ name }) =>
        this.#authorizer.decide(caller, { role: 'view', resource: 'repositories', name, project }).allowed,
    );
  }

  /** Answers alike for a repository that is not there and one that the caller may not view. */
  async open(call: ToolsetCall, name: string | undefined): Promise<Found<Opened>> {
    const visible = this.visible(call);
    const names = visible.map((entry) => entry.name);
    const entry =
      name === undefined && visible.length === 1 ? visible[0] : visible.find((one) => one.name === name);
    if (!entry) {
      const right = bindingText({
        role: 'view',
        resource: 'repositories',
        ...(name && { name: name.slice(0, 100) }),
      });
      if (names.length === 0)
        return refusal('repository', `there is none that you may view; that needs ${right}`, 'NOT_PERMITTED');
      const wanted = name === undefined ? 'is missing' : 'names none that you may view';
      return refusal('repository', `${wanted}: use one of ${names.slice(0, 20).join(', ')}`, 'NOT_FOUND');
    }
    if (!entry.spec) return refusal('repository', `${entry.name} cannot be read: ${entry.error}`, 'CONFLICT');
    const place = await placeOf(entry.spec.path);
    if (!place)
      return refusal('repository', `${entry.name} is no git repository on this machine now`, 'CONFLICT');
    return { ok: true, value: { name: entry.name, spec: entry.spec, place, call } };
  }

  /** The code that a call names; left out, its ref is the working tree where that may be read, else `HEAD`. */
  async code(call: ToolsetCall, named: Named): Promise<Found<{ code: Code; path: string; name: string }>> {
    const path = codePath(named.path ?? '');
    if (!path.ok) return refusal('path', path.error);
    const opened = await this.open(call, named.repository);
    if (!opened.ok) return opened;
    const code = await this.codeOf(opened.value, named.ref, 'ref');
    if (!code.ok) return code;
    if (code.value.isHidden(path.value))
      return refusal('path', 'is not shown of this repository', 'NOT_FOUND');
    return { ok: true, value: { code: code.value, path: path.value, name: opened.value.name } };
  }

  async codeOf({ place, spec, call }: Opened, ref: string | undefined, field: string): Promise<Found<Code>> {
    const { cancellation } = call;
    const reader = { git: this.#git, place, allowed: spec.refs, cancellation };
    let at = await codeAt(reader, ref ?? 'worktree');
    if (!at.ok && ref === undefined) at = await codeAt(reader, 'HEAD');
    if (!at.ok) return refusal(field, at.error, /^(names|cannot)/.test(at.error) ? 'NOT_FOUND' : undefined);
    return {
      ok: true,
      value: new Code(this.#git, place, at.value, { ignore: spec.ignore, cancellation }),
    };
  }
}

/** Where git finds a registered repository; undefined when there is none at that path. */
async function placeOf(path: string): Promise<RepositoryPlace | undefined> {
  try {
    const root = await realpath(path);
    const gitDir = join(root, '.git');
    if (await exists(gitDir)) return { gitDir, workTree: root };
    return (await exists(join(root, 'HEAD'))) && (await exists(join(root, 'objects')))
      ? { gitDir: root, workTree: undefined }
      : undefined;
  } catch {
    return undefined;
  }
}

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );
