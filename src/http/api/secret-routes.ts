import { Refusal } from '../../base/errors.ts';
import type { KeyRotation } from '../../resources/key-rotation.ts';
import { duration, quantityFault } from '../../resources/quantities.ts';
import { jsonObject } from './responses.ts';
import type { Route } from './route.ts';

/** `/secrets/rotate-key`; secrets themselves are objects like others. */
export function secretRoutes({ rotation }: { rotation: KeyRotation }): Route[] {
  return [
    {
      method: 'POST',
      path: '/secrets/rotate-key',
      need: { ask: () => ({ role: 'admin', resource: 'secrets' }) },
      doc: { summary: 'Seal every secret with a new key', body: 'RotationWish', answer: 'Rotation' },
      handle: async (c) => c.json(await rotation.rotate(retireAfter((await jsonObject(c)).retireOld))),
    },
  ];
}

function retireAfter(value: unknown): number | undefined {
  if (value === undefined) return undefined;
  const fault = typeof value === 'string' ? quantityFault(duration, value, '0s', '3650d') : 'must be text';
  if (fault !== undefined) throw new Refusal('invalid', `retireOld: ${fault}`);
  return duration.parse(String(value));
}
