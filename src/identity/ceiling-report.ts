import { type Binding, bindingText, IN_PROJECTS } from '../resources/bindings.ts';
import { mayGive } from './ceiling.ts';
import { covers, type Layer } from './decide.ts';

/** A binding of a token that does not give all that it says. */
export type Removed = { binding: string; effect: 'partial' | 'none'; why: string };

/**
 * What is missing of the bindings of a token now.
 * @param ceilings the rights of its owner and of the tokens that it was made with
 */
export function removedByCeiling(
  bindings: readonly Binding[],
  project: string,
  ceilings: readonly Layer[],
): Removed[] {
  return bindings.flatMap((binding): Removed[] => {
    const why = outside(binding, project);
    if (why !== undefined) return [{ binding: bindingText(binding), effect: 'none', why }];
    const within = 'action' in binding ? binding : { ...binding, project };
    for (const { principal, rights } of ceilings) {
      const held = rights.map((right) => right.binding);
      if (mayGive(held, within)) continue;
      const left = held.filter((one) => covers(binding, one)).map(bindingText);
      return left.length > 0
        ? [
            {
              binding: bindingText(binding),
              effect: 'partial',
              why: `${principal} has only ${left.join(' ')}`,
            },
          ]
        : [{ binding: bindingText(binding), effect: 'none', why: `${principal} does not have it` }];
    }
    return [];
  });
}

function outside(binding: Binding, project: string): string | undefined {
  if ('action' in binding) return undefined;
  if (!IN_PROJECTS.includes(binding.resource)) return `${binding.resource} belong to no project`;
  const bound = binding.project;
  return bound === undefined || bound === '*' || bound === project ? undefined : 'it is of another project';
}
