import fc from 'fast-check';
import type { Ask, Layer, RoleAsk } from '../../src/identity/decide.ts';
import { ACTIONS, type Binding, BOUND_RESOURCES, ROLES } from '../../src/resources/bindings.ts';

const actions = fc.record({ action: fc.constantFrom(...ACTIONS) }, { noNullPrototype: true });

/** Names that overlap with the globs in many ways. */
export const someName = fc.constantFrom('a__x', 'a__y', 'a__', 'b__x', 'ab__x', '*', 'a__*');

const someGlob = fc.oneof(
  someName,
  fc.string({ unit: fc.constantFrom('a', 'b', '_', 'x', '*', '?'), minLength: 1, maxLength: 6 }),
);

export const anyBinding: fc.Arbitrary<Binding> = fc.oneof(
  { weight: 1, arbitrary: actions },
  {
    weight: 5,
    arbitrary: fc.record(
      {
        role: fc.constantFrom(...ROLES),
        resource: fc.constantFrom(...BOUND_RESOURCES),
        name: someGlob,
        project: fc.constantFrom('p', 'q', '*'),
      },
      { requiredKeys: ['role', 'resource'], noNullPrototype: true },
    ),
  },
);

/** Bindings of which many are about running tools. */
export const toolBinding: fc.Arbitrary<Binding> = fc.oneof(
  anyBinding,
  fc.record(
    {
      role: fc.constantFrom('run', 'admin', 'view'),
      resource: fc.constantFrom('tools', '*', 'servers'),
      name: someGlob,
      project: fc.constantFrom('p', 'q', '*'),
    },
    { requiredKeys: ['role', 'resource'], noNullPrototype: true },
  ),
);

export const roleAsk: fc.Arbitrary<RoleAsk> = fc.record(
  {
    role: fc.constantFrom(...ROLES),
    resource: fc.constantFrom(...BOUND_RESOURCES),
    name: someName,
    project: fc.constantFrom('p', 'q'),
  },
  { requiredKeys: ['role', 'resource'], noNullPrototype: true },
);

export const anyAsk: fc.Arbitrary<Ask> = fc.oneof(
  { weight: 1, arbitrary: actions },
  { weight: 5, arbitrary: roleAsk },
);

export function layerOf(principal: string, bindings: readonly Binding[], project?: string): Layer {
  return {
    principal,
    rights: bindings.map((binding) => ({ rbac: 'r', subject: principal, binding })),
    project,
  };
}
