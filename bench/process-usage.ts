import { readdirSync, readFileSync } from 'node:fs';

/** Linux counts CPU time in ticks of 10 ms (USER_HZ), whatever the kernel's own timer is. */
const TICK_SECONDS = 0.01;

type Stat = { pid: number; parent: number; ticks: number };

function readStat(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const [user, system, reapedUser, reapedSystem] = fields.slice(11, 15).map(Number);
    return { pid, parent: Number(fields[1]), ticks: user! + system! + reapedUser! + reapedSystem! };
  } catch {
    return undefined;
  }
}

/** The process and its descendants, whatever process group or session they moved to. */
function treeOf(root: number): Stat[] {
  const stats = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readStat(Number(name)))
    .filter((stat) => stat !== undefined);
  const tree = stats.filter((stat) => stat.pid === root);
  for (const member of tree) tree.push(...stats.filter((stat) => stat.parent === member.pid));
  return tree;
}

/** User and system seconds of the tree so far; what its reaped children used is in there. */
export function cpuSecondsOfTree(root: number): number {
  return treeOf(root).reduce((sum, stat) => sum + stat.ticks, 0) * TICK_SECONDS;
}

/** CPU seconds that all cores together have spent on anything so far, work stolen by the host included. */
export function cpuSecondsOfMachine(): number {
  const fields = readFileSync('/proc/stat', 'latin1')
    .split('\n', 1)[0]!
    .trim()
    .split(/ +/)
    .slice(1)
    .map(Number);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = fields;
  return (user + nice + system + irq + softirq + steal) * TICK_SECONDS;
}

/** `rss` of the root process alone; `pss` of the tree, where a page that n processes map counts 1/n. In bytes. */
export type Memory = { rss: number; pss: number };

export function memoryOfTree(root: number): Memory {
  const members = treeOf(root).map((stat) => readRollup(stat.pid));
  return { rss: members[0]?.rss ?? 0, pss: members.reduce((sum, member) => sum + member.pss, 0) };
}

function readRollup(pid: number): Memory {
  try {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
    const bytesOf = (key: string) =>
      Number(new RegExp(`^${key}: +(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * 1024;
    return { rss: bytesOf('Rss'), pss: bytesOf('Pss') };
  } catch {
    return { rss: 0, pss: 0 };
  }
}
