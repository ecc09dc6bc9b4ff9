import { sha256Hex } from '../base/ids.ts';
import type { View } from './view.ts';

export const LIST_KINDS = ['tools', 'prompts', 'resources'] as const;
export type ListKind = (typeof LIST_KINDS)[number];

type Digests = Readonly<Record<ListKind, string>>;

/** Tells which lists of a surface really differ; the digests of a view that many look at are made once. */
export class ListDigests {
  private readonly known = new WeakMap<View, Digests>();

  /** A look at the lists as they are now. Called again, it says which have changed since the last time. */
  follow(current: () => View): () => ListKind[] {
    let last = this.look(current());
    return () => {
      const before = last;
      last = this.look(current());
      // A server that came and was not read yet may offer anything: only by listing does the client find out.
      if (last.unread.some((server) => !before.unread.includes(server))) return [...LIST_KINDS];
      const { digests } = last;
      return LIST_KINDS.filter((kind) => before.digests[kind] !== digests[kind]);
    };
  }

  /** What is kept of a view: not the view itself, which would live as long as the quietest stream. */
  private look(view: View): { digests: Digests; unread: readonly string[] } {
    return { digests: this.of(view), unread: view.unread };
  }

  private of(view: View): Digests {
    const known = this.known.get(view);
    if (known) return known;
    const { toolsWithTasks, prompts, resources, templates } = view.lists;
    // Only what is listed: notes on servers that are down are no change of a list.
    const digests = {
      tools: sha256Hex(JSON.stringify(toolsWithTasks.tools)),
      prompts: sha256Hex(JSON.stringify(prompts.prompts)),
      resources: sha256Hex(JSON.stringify([resources.resources, templates.resourceTemplates])),
    };
    this.known.set(view, digests);
    return digests;
  }
}
