import { sha256Hex } from '../base/ids.ts';
import type { JsonObject } from '../protocol/jsonrpc.ts';
import { itemsOf, type ListName, type View } from './view.ts';

export const LIST_KINDS = ['tools', 'prompts', 'resources'] as const;
export type ListKind = (typeof LIST_KINDS)[number];

type Digests = Readonly<Record<ListKind, string>>;

/** Tells which lists of a surface really differ; the digest of a list that many look at is made once. */
export class ListDigests {
  private readonly known = new WeakMap<readonly JsonObject[], string>();

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

  /** Of what is listed alone: notes on servers that are down are no change of a list. */
  of(items: readonly JsonObject[]): string {
    let digest = this.known.get(items);
    if (digest === undefined) {
      digest = sha256Hex(JSON.stringify(items));
      this.known.set(items, digest);
    }
    return digest;
  }

  /** What is kept of a view: not the view itself, which would live as long as the quietest stream. */
  private look(view: View): { digests: Digests; unread: readonly string[] } {
    const of = (list: ListName) => this.of(itemsOf(view, list));
    const resources = `${of('resources')} ${of('templates')}`;
    const digests = { tools: of('toolsWithTasks'), prompts: of('prompts'), resources };
    return { digests, unread: view.unread };
  }
}
