import { InvalidArgumentError, Option } from 'commander';

/** Seconds, fractions allowed, as milliseconds. */
export function secondsAsMs(maxSeconds: number): (value: string) => number {
  return (value) => {
    const seconds = /^\d{1,9}(\.\d{1,3})?$/.test(value) ? Number(value) : Number.NaN;
    if (!(seconds > 0 && seconds <= maxSeconds)) {
      throw new InvalidArgumentError(`Give seconds above 0 and up to ${maxSeconds}, such as 30 or 2.5.`);
    }
    return Math.round(seconds * 1000);
  };
}

/** Adds the names of a comma-separated list to those of earlier uses of the flag. */
export function nameList(value: string, earlier: readonly string[] | undefined): string[] {
  const names = value.split(',').map((name) => name.trim());
  if (names.some((name) => name === '')) {
    throw new InvalidArgumentError('Give names separated by commas, none of them empty.');
  }
  return [...(earlier ?? []), ...names];
}

export function oneOf(
  flags: string,
  description: string,
  choices: readonly string[],
  fallback: string,
): Option {
  return new Option(flags, description).choices([...choices]).default(fallback);
}

/** Adds the value to those of earlier uses of the flag. */
export function repeated(value: string, earlier: readonly string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}
