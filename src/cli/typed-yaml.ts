import { parse } from 'yaml';
import { messageOf } from '../base/errors.ts';
import { usage } from './exit.ts';

/** Reads YAML or JSON that a flag or a named file holds; what is no such text is a usage error that names the place. */
export function yamlOf(place: string, text: string): unknown {
  try {
    return parse(text, { maxAliasCount: 100 });
  } catch (error) {
    throw usage(`${place} is neither YAML nor JSON: ${messageOf(error).split('\n')[0]}`);
  }
}
