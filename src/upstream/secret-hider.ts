import type { ServerEntry, StdioTarget } from '../resources/spec.ts';

const MIN_LENGTH = 6;
/** Of a value that was declared a secret, whatever it is called. */
const MIN_DECLARED_LENGTH = 4;
const SECRET_NAME =
  /key|token|secret|passw|pwd|auth|cred|private|dsn|cookie|session|sign|salt|conn|database|url|uri/i;

type Given = Pick<StdioTarget, 'env' | 'args'>;

/** What a server was given, as `secretHider` takes it: HTTP headers are looked at like variables. */
export function givenTo({ spec }: Pick<ServerEntry, 'spec'>): Given {
  if (spec?.target.type === 'stdio') return spec.target;
  return { args: [], env: spec?.target.type === 'http' ? spec.target.headers : {} };
}

/**
 * Replaces, in text that a server wrote, what it was given in confidence: each secret by its placeholder, also line by
 * line and in the usual encodings, the value of each variable whose name sounds secret by `${NAME}`, and each argument
 * that does by `•••`. Long values first, for one may contain another. As the text may have been cut, the beginning of a
 * secret at its end is hidden too.
 */
export function secretHider(
  { env, args }: Given,
  confidential: ReadonlyMap<string, string> = new Map(),
): (text: string) => string {
  const hidden = new Map<string, string>();
  const add = (value: string, shown: string, least: number) => {
    if (value.length >= least) hidden.set(value, shown);
  };
  args.forEach((argument, index) => {
    const assigned = /^--?([\w-]+)=(.*)$/s.exec(argument);
    if (assigned && SECRET_NAME.test(assigned[1] ?? '')) add(assigned[2] ?? '', '•••', MIN_LENGTH);
    const before = args[index - 1] ?? '';
    if (/^--?[\w-]+$/.test(before) && SECRET_NAME.test(before)) add(argument, '•••', MIN_LENGTH);
  });
  for (const [name, value] of Object.entries(env))
    if (SECRET_NAME.test(name)) add(value, `\${${name}}`, MIN_LENGTH);
  const declared = [...confidential].flatMap(([value, placeholder]) =>
    formsOf(value).map((form): [string, string] => [form, placeholder]),
  );
  for (const [form, placeholder] of declared) add(form, placeholder, MIN_DECLARED_LENGTH);
  const values = [...hidden].sort(([left], [right]) => right.length - left.length);
  return (text) => {
    const shown = values.reduce((rest, [value, name]) => rest.replaceAll(value, () => name), text);
    return declared.reduce((rest, [value, name]) => withoutBeginning(rest, value, name), shown);
  };
}

/** How a value looks where it was printed: whole, each of its lines, in JSON, in a URL, as base64. */
function formsOf(value: string): string[] {
  const lines = value.split(/\r?\n/).map((line) => line.trim());
  return [
    value,
    ...lines,
    JSON.stringify(value).slice(1, -1),
    encodeURIComponent(value),
    Buffer.from(value).toString('base64'),
  ];
}

function withoutBeginning(text: string, value: string, name: string): string {
  for (let length = Math.min(text.length, value.length - 1); length >= MIN_LENGTH; length -= 1)
    if (text.endsWith(value.slice(0, length))) return text.slice(0, -length) + name;
  return text;
}
