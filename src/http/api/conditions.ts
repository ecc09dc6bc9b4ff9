import { Refusal } from '../../base/errors.ts';
import { type ExpectedVersion, VersionConflict } from '../../resources/layer-edit.ts';
import { type ApiContext, refuse } from './responses.ts';

/** Header parameters of a route that changes an object. */
export const CONDITIONS = {
  'if-match': 'The resourceVersion that has to be there, in quotes, as ETag answered it.',
  'if-none-match': '*: only if there is no such object yet.',
};

/**
 * What a change wants to find, by its headers or else by `given`.
 * @throws Refusal `invalid`
 */
export function expectedVersion(c: ApiContext, given: string | undefined): ExpectedVersion | undefined {
  const match = c.req.header('if-match');
  const noneMatch = c.req.header('if-none-match');
  if (noneMatch !== undefined) {
    if (noneMatch !== '*') throw new Refusal('invalid', 'If-None-Match: must be *');
    if (match !== undefined || given !== undefined)
      throw new Refusal('invalid', 'If-None-Match: leave it out, or the version that has to be there');
    return 'none';
  }
  if (match === undefined) return given === undefined ? undefined : { version: given };
  const version = /^"([^"]{1,100})"$/.exec(match)?.[1];
  if (version === undefined)
    throw new Refusal('invalid', 'If-Match: must be one resourceVersion in quotes, such as "12"');
  if (given !== undefined && given !== version)
    throw new Refusal('invalid', 'If-Match: names another version than resourceVersion');
  return { version };
}

/** A condition in a header that does not hold is answered 412 (RFC 9110 13.1), one of ours 409. */
export async function underConditions(c: ApiContext, change: () => Promise<Response>): Promise<Response> {
  try {
    return await change();
  } catch (error) {
    const inHeader = (c.req.header('if-match') ?? c.req.header('if-none-match')) !== undefined;
    if (!(error instanceof VersionConflict) || !inHeader) throw error;
    return refuse(c, 412, 'CONFLICT', error.message);
  }
}
