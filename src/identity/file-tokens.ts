import { messageOf, Refusal } from '../base/errors.ts';
import type { Logger } from '../base/logger.ts';
import type { FileToken } from '../resources/layers.ts';
import type { Snapshot } from '../resources/spec.ts';
import { localAdminCaller } from './local-admin.ts';
import type { Tokens } from './tokens.ts';
import { expiryOf } from './ttl.ts';

/** A token that a file asks for; `raw` when it was made just now, and then never again. */
export type NewFileToken = { name: string; project: string; raw: string | undefined };

/** Makes the tokens that files ask for and that do not exist yet. An active one of the same name is left alone. */
export async function makeFileTokens(
  tokens: Tokens,
  wanted: readonly FileToken[],
  snapshot: Snapshot,
  logger: Logger,
): Promise<NewFileToken[]> {
  const made: NewFileToken[] = [];
  for (const { name, project: projectName, labels, spec, file, line } of wanted) {
    const project = snapshot.projects.get(projectName);
    if (!project) continue;
    try {
      const { raw } = await tokens.create({
        name,
        project: { name: project.name, uid: project.uid },
        creator: localAdminCaller(),
        surfaces: spec.surfaces ?? ['consumer'],
        rbac: spec.rbac ?? 'empty',
        binds: spec.binds ?? [],
        expiresAt: expiryOf(spec.ttl ?? 'never', Date.now()),
        description: spec.description,
        ...(labels && { labels }),
      });
      made.push({ name, project: project.name, raw });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (error.kind === 'conflict') made.push({ name, project: project.name, raw: undefined });
      else logger.error({ token: name }, `${file}:${line}: ${messageOf(error)}`);
    }
  }
  return made;
}
