import type { StdioTarget } from '../resources/spec.ts';

const MIN_LENGTH = 6;
const SECRET_NAME =
  /key|token|secret|passw|pwd|auth|cred|private|dsn|cookie|session|sign|salt|conn|database|url|uri/i;

/**
 * Replaces, in text that a child wrote, what the child was given in confidence: the value of each of its variables whose
 * name sounds secret by `${NAME}`, and each argument that does by `•••`. Long values first, for one may contain another.
 */
export function secretHider({ env, args }: Pick<StdioTarget, 'env' | 'args'>): (text: string) => string {
  const hidden = new Map<string, string>();
  args.forEach((argument, index) => {
    const assigned = /^--?([\w-]+)=(.*)$/s.exec(argument);
    if (assigned && SECRET_NAME.test(assigned[1] ?? '')) hidden.set(assigned[2] ?? '', '•••');
    const before = args[index - 1] ?? '';
    if (/^--?[\w-]+$/.test(before) && SECRET_NAME.test(before)) hidden.set(argument, '•••');
  });
  for (const [name, value] of Object.entries(env))
    if (SECRET_NAME.test(name)) hidden.set(value, `\${${name}}`);
  const values = [...hidden].filter(([value]) => value.length >= MIN_LENGTH);
  values.sort(([left], [right]) => right.length - left.length);
  return (text) => values.reduce((shown, [value, name]) => shown.replaceAll(value, () => name), text);
}
