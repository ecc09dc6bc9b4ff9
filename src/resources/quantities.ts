const DURATION_UNITS: ReadonlyMap<string, number> = new Map([
  ['ms', 1],
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
]);

const SIZE_UNITS: ReadonlyMap<string, number> = new Map([
  ['B', 1],
  ['kB', 1000],
  ['KB', 1000],
  ['MB', 1_000_000],
  ['GB', 1_000_000_000],
  ['KiB', 1024],
  ['MiB', 1024 ** 2],
  ['GiB', 1024 ** 3],
]);

export type Quantity = {
  parse: (text: string) => number | undefined;
  /** What a valid value looks like, to end an error message with. */
  hint: string;
};

/** Durations as written (`500ms`, `60s`, `1.5h`), in whole milliseconds. */
export const duration: Quantity = {
  parse: (text) => quantity(text, DURATION_UNITS),
  hint: 'write a number and a unit (ms, s, m, h, d) such as 60s or 10m',
};

/** Sizes as written (`512KiB`, `10MiB`, `2MB`), in whole bytes. */
export const size: Quantity = {
  parse: (text) => quantity(text, SIZE_UNITS),
  hint: 'write a number and a unit (B, KiB, MiB, GiB, kB, MB, GB) such as 10MiB',
};

function quantity(text: string, units: ReadonlyMap<string, number>): number | undefined {
  const match = /^(\d{1,12}(?:\.\d{1,6})?)\s?([A-Za-z]{1,3})$/.exec(text);
  const unit = match && units.get(match[2]!);
  return unit ? Math.round(Number(match[1]) * unit) : undefined;
}

/** Why a written quantity is refused; undefined when it lies within the bounds (given as written, too). */
export function quantityFault(kind: Quantity, text: string, min: string, max: string): string | undefined {
  const value = kind.parse(text);
  if (value === undefined) return `is no valid value: ${kind.hint}`;
  if (value < kind.parse(min)! || value > kind.parse(max)!) {
    return `is out of range: use a value from ${min} to ${max}`;
  }
  return undefined;
}
