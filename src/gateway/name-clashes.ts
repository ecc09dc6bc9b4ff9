import { Refusal } from '../base/errors.ts';
import { OWN_TOOLS } from '../resources/builtin-toolsets.ts';
import type { PlannedChange } from '../resources/layer-edit.ts';
import { projectSpec } from '../resources/project-fields.ts';
import type { Upstreams } from '../upstream/upstreams.ts';

/**
 * Refuses a project in which a server, as far as its list is known by now, has a tool with the plain name of a built-in
 * one beside it, or of one of Castellan's own. One that it gets later is left out where lists are made.
 * @throws Refusal `invalid` naming the server and the tool
 */
export function refuseNameClashes({ kind, wanted }: PlannedChange, upstreams: Upstreams): void {
  if (kind !== 'Project' || !wanted) return;
  const { servers, operatorServers } = projectSpec(wanted);
  for (const [field, names] of Object.entries({ servers, operatorServers })) {
    const toolsOf = (name: string) =>
      (upstreams.get(name)?.listings() ?? []).flatMap(({ tools }) => tools.map((tool) => tool.name));
    const specOf = (name: string) => upstreams.get(name)?.spec;
    const builtin = new Set(names.filter((name) => specOf(name)?.target.type === 'builtin').flatMap(toolsOf));
    const own = new Set<string>(OWN_TOOLS);
    for (const [index, name] of names.entries()) {
      const spec = specOf(name);
      if (spec?.prefix !== 'never' || spec.target.type === 'builtin') continue;
      const taken = toolsOf(name).find(
        (tool) => (builtin.has(tool) || own.has(tool)) && !Object.hasOwn(spec.tools.override, tool),
      );
      if (taken === undefined) continue;
      const owner = own.has(taken) ? 'Castellan itself' : 'a built-in toolset beside it';
      const fix = `give it another name in tools.override, or leave prefix: never out`;
      throw new Refusal(
        'invalid',
        `spec.${field}[${index}]: ${name} has a tool ${taken}, as ${owner} has: ${fix}`,
      );
    }
  }
}
