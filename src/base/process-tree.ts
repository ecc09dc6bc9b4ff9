import { readdir, readFile, readlink } from 'node:fs/promises';

/** One line of the kernel's process table; `startTime` (clock ticks since boot) tells two uses of one pid apart. */
export type ProcessInfo = {
  pid: number;
  parent: number;
  group: number;
  session: number;
  state: string;
  startTime: string;
};

export type MarkedProcess = ProcessInfo & { marker: string | undefined };

/** The name of the environment variable that every child, and what it starts, carries. */
export const MARKER_VARIABLE = 'CASTELLAN_CHILD';

/** The processes that belong to one child: it leads its own session, and whoever left that session carries the marker. */
export type Family = {
  leader: number;
  leaderStart: string;
  /** Value of the marker variable. */
  marker: string;
  /** Seen earlier as a descendant (pid to start time): keeps those that cleaned their environment before leaving. */
  known: Map<number, string>;
};

const PARALLEL_READS = 16;

/** The kernel's table is readable here; elsewhere only process groups are known. */
export const hasProcessTable = process.platform === 'linux';

/** Parses /proc/PID/stat (proc(5)). The command name may hold spaces and parentheses, so the last one counts. */
export function parseStat(text: string): ProcessInfo | undefined {
  const nameEnd = text.lastIndexOf(')');
  const pid = Number.parseInt(text, 10);
  const rest = text.slice(nameEnd + 2).split(' ');
  if (nameEnd < 0 || !Number.isSafeInteger(pid) || rest.length < 20) return undefined;
  const [state = '', parent, group, session] = rest;
  return {
    pid,
    parent: Number(parent),
    group: Number(group),
    session: Number(session),
    state,
    startTime: rest[19] ?? '',
  };
}

export async function readProcess(pid: number): Promise<ProcessInfo | undefined> {
  return readFile(`/proc/${pid}/stat`, 'latin1').then(parseStat, () => undefined);
}

/** The value of the marker variable, undefined when there is none or the process is not ours to read. */
export async function readMarker(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '');
  const start = text.startsWith(`${MARKER_VARIABLE}=`) ? 0 : text.indexOf(`\0${MARKER_VARIABLE}=`) + 1;
  if (start === 0 && !text.startsWith(`${MARKER_VARIABLE}=`)) return undefined;
  const end = text.indexOf('\0', start);
  return text.slice(start + MARKER_VARIABLE.length + 1, end < 0 ? undefined : end);
}

/** Every process that runs, kernel threads and ended ones aside. Empty where there is no process table. */
export async function readProcessTable(): Promise<MarkedProcess[]> {
  if (!hasProcessTable) return [];
  const names = await readdir('/proc').catch(() => []);
  const entries = await inParallel(names, async (name) => {
    const info = /^\d+$/.test(name) ? await readProcess(Number(name)) : undefined;
    if (!info || isKernelThread(info) || hasEnded(info)) return undefined;
    return { ...info, marker: await readMarker(info.pid) };
  });
  return entries.filter((entry) => entry !== undefined);
}

/** One reading at a time, each shared by all who asked before it began: many children may end at once. */
export class ProcessTableReader {
  #current: Promise<MarkedProcess[]> | undefined;
  #next: Promise<MarkedProcess[]> | undefined;

  /** The table as it is at some moment after this call. */
  read(): Promise<MarkedProcess[]> {
    if (!this.#current) return this.#begin();
    this.#next ??= this.#current.then(() => this.#begin());
    return this.#next;
  }

  #begin(): Promise<MarkedProcess[]> {
    this.#next = undefined;
    const reading = readProcessTable().finally(() => {
      if (this.#current === reading) this.#current = undefined;
    });
    this.#current = reading;
    return reading;
  }
}

/** The members of a family: its session and group, the marked, those known before, and all their descendants. */
export function membersIn(table: readonly MarkedProcess[], family: Family): ProcessInfo[] {
  // While a group or a session has members its number cannot be given to a new process, so a reused pid means none.
  const reused = table.some(
    ({ pid, startTime }) => pid === family.leader && startTime !== family.leaderStart,
  );
  const members = new Map<number, ProcessInfo>();
  for (const entry of table) {
    const inSession = !reused && (entry.session === family.leader || entry.group === family.leader);
    const isKnown = family.known.get(entry.pid) === entry.startTime;
    if (inSession || isKnown || entry.marker === family.marker) members.set(entry.pid, entry);
  }
  for (let size = -1; size !== members.size; ) {
    size = members.size;
    for (const entry of table) if (members.has(entry.parent)) members.set(entry.pid, entry);
  }
  members.delete(process.pid);
  return [...members.values()];
}

/** The living processes whose marker is accepted, in this process's own pid namespace. */
export async function markedProcesses(accept: (marker: string) => boolean): Promise<MarkedProcess[]> {
  const marked = (await readProcessTable()).filter(
    ({ pid, marker }) => pid !== process.pid && marker !== undefined && accept(marker),
  );
  const own = await readlink('/proc/self/ns/pid').catch(() => '');
  const namespaces = await inParallel(marked, ({ pid }) => readlink(`/proc/${pid}/ns/pid`).catch(() => ''));
  return marked.filter((_, index) => namespaces[index] === own);
}

/** Sends a signal; a process that is gone, or not ours, is no error. A negative pid names a process group. */
export function signalProcess(pid: number, signal: NodeJS.Signals): boolean {
  try {
    return process.kill(pid, signal);
  } catch {
    return false;
  }
}

function isKernelThread(info: ProcessInfo): boolean {
  return info.session === 0 && info.group === 0;
}

function hasEnded(info: ProcessInfo): boolean {
  return info.state === 'Z' || info.state === 'X';
}

async function inParallel<T, R>(items: readonly T[], read: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = new Array(items.length);
  let next = 0;
  const worker = async () => {
    for (let index = next++; index < items.length; index = next++)
      results[index] = await read(items[index] as T);
  };
  await Promise.all(Array.from({ length: PARALLEL_READS }, worker));
  return results;
}
