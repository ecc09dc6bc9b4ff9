import { type BuiltinValue, type Environment, expandSecretValue } from './expansion.ts';
import type { FileLayer } from './layers.ts';
import { objectKey, type StoredLayer } from './resource-rows.ts';
import { secretValueFault } from './secret-fields.ts';

/** What `${secret:NAME.KEY}` becomes. A secret of a file stands in for the stored one of its name, as a whole. */
export function secretValue(
  name: string,
  key: string,
  files: Pick<FileLayer, 'secrets'>,
  stored: StoredLayer,
  env: Environment,
): BuiltinValue {
  const declared = files.secrets.get(name);
  if (declared) return declaredValue(name, key, declared, env);
  const object = stored.objects.get(objectKey('Secret', name));
  if (!object) return { error: `there is no secret ${name}: create it, with a key ${key}` };
  const values = stored.secrets.get(object.uid)?.values;
  if (!values?.has(key)) return { error: noKey(name, key) };
  const value = values.get(key);
  return value === undefined
    ? { error: `key ${key} of secret ${name} cannot be opened: give its value again` }
    : { value };
}

function declaredValue(
  name: string,
  key: string,
  declared: Readonly<Record<string, string>>,
  env: Environment,
): BuiltinValue {
  const written = Object.hasOwn(declared, key) ? declared[key] : undefined;
  if (written === undefined) return { error: noKey(name, key) };
  const { text, errors } = expandSecretValue(written, env);
  const fault = errors[0] ?? secretValueFault(text);
  return fault === undefined ? { value: text } : { error: `key ${key} of secret ${name}: ${fault}` };
}

const noKey = (name: string, key: string) => `secret ${name} has no key ${key}: add it, or name another`;
