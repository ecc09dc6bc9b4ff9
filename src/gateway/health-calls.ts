import type { Audit } from '../audit/audit.ts';
import type { AuditEvent } from '../audit/event.ts';
import { AuditUnavailable } from '../audit/unavailable.ts';
import { anyGlobMatches } from '../base/glob.ts';
import { EVERYTHING, type Freezes } from '../freezes/freezes.ts';
import { canonicalName } from '../protocol/names.ts';
import type { Snapshot } from '../resources/spec.ts';
import type { HealthCallEnd } from '../upstream/health-check.ts';

type HealthCallsDeps = {
  audit: Pick<Audit, 'intent' | 'record' | 'argumentsDigest'>;
  freezes: Pick<Freezes, 'of'>;
  snapshot: () => Snapshot;
};

/**
 * The calls of tools that health checks make. Nobody asked for them and they belong to no project, and yet a freeze
 * stops them and the audit tells of each as of any call.
 */
export class HealthCalls {
  readonly #deps: HealthCallsDeps;

  constructor(deps: HealthCallsDeps) {
    this.#deps = deps;
  }

  /** Undefined: not now. */
  async begin(server: string, tool: string): Promise<HealthCallEnd | undefined> {
    const { audit, snapshot } = this.#deps;
    if (this.#isFrozen(server)) return undefined;
    const event: AuditEvent = {
      event: 'tool.call',
      outcome: 'ok',
      actor: { kind: 'castellan' },
      server,
      tool: canonicalName(server, tool),
      digest: audit.argumentsDigest({}),
    };
    const readOnly = anyGlobMatches(snapshot().servers.get(server)?.spec?.tools.readOnly ?? [], tool);
    if (!readOnly) {
      const announced = await this.#announced(event);
      if (announced === undefined) return undefined;
      event.intent = announced;
    }
    const startedAt = performance.now();
    return (outcome) => audit.record({ ...event, outcome, durationMs: performance.now() - startedAt });
  }

  async #announced(event: AuditEvent): Promise<string | undefined> {
    try {
      return await this.#deps.audit.intent({ ...event, event: 'tool.intent', outcome: 'allowed' });
    } catch (error) {
      if (error instanceof AuditUnavailable) return undefined;
      throw error;
    }
  }

  /** One project that is stopped is enough: its servers are to be left alone. */
  #isFrozen(server: string): boolean {
    const { freezes, snapshot } = this.#deps;
    if (freezes.of(EVERYTHING)) return true;
    return [...snapshot().projects.values()].some(
      ({ name, spec }) =>
        (spec.servers.includes(server) || spec.operatorServers.includes(server)) && freezes.of(name),
    );
  }
}
