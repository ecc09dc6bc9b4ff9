import { globCoversPrefix, globMatches, globMeetsPrefix } from '../base/glob.ts';
import { grants, type Layer, type RoleAsk } from './decide.ts';

const ALL = '*';

/**
 * Which tools somebody may run in one project: what `decide` says, prepared for asking it of every tool of a list.
 * Resources and prompts of a server go with the right to run all that the server has.
 */
export class ToolRights {
  /** The same for all who may run the same; empty for those who may run everything. */
  readonly fingerprint: string;
  /** Per layer with limits: name globs of which one has to match. */
  readonly #limits: readonly (readonly string[])[];
  readonly #reached = new Map<string, boolean>();

  constructor(layers: readonly Layer[], project: string) {
    const limits = layers.map((layer) => patternsOf(layer, project));
    if (layers.length === 0) limits.push([]);
    this.#limits = limits.filter((patterns) => !patterns.includes(ALL));
    this.fingerprint =
      this.#limits.length === 0 ? '' : JSON.stringify(this.#limits.map((one) => one.toSorted()).toSorted());
  }

  /** Not even one tool, on any server. */
  get isNothing(): boolean {
    return this.#limits.some((patterns) => patterns.length === 0);
  }

  /** @param canonical `server__upstreamName` */
  runs(canonical: string): boolean {
    return this.#limits.every((patterns) => patterns.some((pattern) => globMatches(pattern, canonical)));
  }

  runsAllOf(server: string): boolean {
    return this.#limits.every((patterns) =>
      patterns.some((pattern) => globCoversPrefix(pattern, `${server}__`)),
    );
  }

  /** Whether anything of the server may be run: of one where nothing may, nothing is told and nothing started. */
  reaches(server: string): boolean {
    let reached = this.#reached.get(server);
    if (reached === undefined) {
      reached = this.#limits.every((patterns) =>
        patterns.some((pattern) => globMeetsPrefix(pattern, `${server}__`)),
      );
      this.#reached.set(server, reached);
    }
    return reached;
  }
}

function patternsOf(layer: Layer, project: string): string[] {
  if (layer.project !== undefined && layer.project !== project) return [];
  const patterns = layer.rights.flatMap(({ binding }) => {
    if ('action' in binding) return [];
    const { name, ...unnamed } = binding;
    const ask: RoleAsk = { role: 'run', resource: 'tools', project };
    return grants(unnamed, ask) ? [name ?? ALL] : [];
  });
  return [...new Set(patterns)];
}

/** No limits. */
export const EVERY_TOOL = new ToolRights(
  [{ principal: '', rights: [{ rbac: '', subject: '', binding: { role: 'run', resource: 'tools' } }] }],
  '',
);
