import { readFileSync } from 'node:fs';

// Preloaded into a process: its `Date` is off by as many milliseconds as the file says that CASTELLAN_TEST_CLOCK names,
// from the moment on that it says so. What counts evenly, such as performance.now(), is left alone, as when somebody sets
// the clock of a machine.

const file = process.env.CASTELLAN_TEST_CLOCK ?? '';
const Real = Date;
const shifted = () => Real.now() + Number(readFileSync(file, 'utf8'));

globalThis.Date = new Proxy(Real, {
  construct: (target, args, made) => Reflect.construct(target, args.length === 0 ? [shifted()] : args, made),
  apply: () => new Real(shifted()).toString(),
  get: (target, key, receiver) => (key === 'now' ? shifted : Reflect.get(target, key, receiver)),
});
