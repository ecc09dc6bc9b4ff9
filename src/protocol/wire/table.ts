import type { Era } from '../revisions.ts';
import type { Codec } from './codec.ts';
import { legacyCodec } from './legacy/codec.ts';
import { modernCodec } from './modern/codec.ts';

/** The one place that knows which eras there are. */
export const codecs: Readonly<Record<Era, Codec>> = { legacy: legacyCodec, modern: modernCodec };
