import { isObject, type JsonObject } from '../protocol/jsonrpc.ts';
import { usage } from './exit.ts';
import { readStdin } from './stdin.ts';

/**
 * The arguments of a tool: a JSON object, or "-" for one on stdin; none are `{}`.
 * @param what what they are called in a message: `the arguments`, `--args`
 * @param example how they are written
 */
export async function toolArguments(
  text: string | undefined,
  what: string,
  example: string,
): Promise<JsonObject> {
  const json = text === '-' ? await readStdin() : (text ?? '{}');
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw usage(`${what}: no valid JSON (${(error as Error).message}); quote it for the shell: ${example}`);
  }
  if (!isObject(value)) throw usage(`${what}: must be a JSON object, such as ${example}`);
  return value;
}
