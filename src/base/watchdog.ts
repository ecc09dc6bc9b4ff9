import { messageOf } from './errors.ts';
import { type ListenerProcess, spawnDetachedListener } from './spawn.ts';

const RESTART_LIMIT = 5;

/**
 * The whole watchdog. It reads `+GROUP`, `-GROUP` and `bye`; when its input ends without `bye`, whoever held the other
 * end is dead, and it kills the groups, their sessions, everyone who carries the mark ($1) and all their descendants,
 * until three looks in a row find nobody: a child that was between fork and exec carries no mark yet.
 */
const SCRIPT = String.raw`
trap '' HUP INT TERM PIPE
mark=$1
groups=' '
while IFS= read -r line; do
  case $line in
    +*) groups="$groups\${line#+} " ;;
    -*) g=\${line#-}
        case $groups in *" $g "*) groups="\${groups%%" $g "*} \${groups#*" $g "}" ;; esac ;;
    bye) exit 0 ;;
  esac
done
marked() {
  if printf 'a\0b=c' | grep -qsaF b=c 2>/dev/null; then
    grep -lsaF -e "$mark" /proc/[0-9]*/environ 2>/dev/null
  else
    for f in /proc/[0-9]*/environ; do
      case $(cat "$f" 2>/dev/null) in *"$mark"*) echo "$f" ;; esac
    done
  fi | cut -d/ -f3
}
family() {
  found=$(marked | tr '\n' ' ')
  cat /proc/[0-9]*/stat 2>/dev/null | awk -v groups="$groups" -v found="$found" '
    BEGIN { split(groups, g, " "); for (i in g) group[g[i]]; split(found, f, " "); for (i in f) member[f[i]] }
    { pid = $1; if (!sub(/^.*\) /, "")) next
      if ($1 == "Z" || $1 == "X") { delete member[pid]; next }
      parent[pid] = $2; if (($3 in group) || ($4 in group)) member[pid] }
    END { do { grew = 0
        for (p in parent) if (!(p in member) && (parent[p] in member)) { member[p]; grew = 1 }
      } while (grew)
      for (p in member) print p }' || echo "$found"
}
quiet=0
looks=0
while [ $quiet -lt 3 ] && [ $looks -lt 100 ]; do
  alive=
  if [ -r /proc/self/stat ]; then alive=$(family); fi
  for g in $groups; do kill -9 "-$g" 2>/dev/null && alive="$alive $g"; done
  for p in $alive; do kill -9 "$p" 2>/dev/null; done
  case $alive in *[0-9]*) quiet=0 ;; *) quiet=$((quiet + 1)) ;; esac
  looks=$((looks + 1))
  sleep 0.2 2>/dev/null || sleep 1
done
`.replaceAll('\\${', '${');

/**
 * A tiny shell process that outlives a SIGKILL of this one for as long as it takes to kill what this one started.
 * Started with the first group, started again when somebody kills it. On systems without /bin/sh there is none.
 */
export class Watchdog {
  readonly #mark: string;
  readonly #onFailure: (reason: string) => void;
  readonly #groups = new Set<number>();
  #process: ListenerProcess | undefined;
  #starts = 0;
  #released = false;

  /** `mark` is the text that the environment of every process to kill contains. */
  constructor(mark: string, onFailure: (reason: string) => void) {
    this.#mark = mark;
    this.#onFailure = onFailure;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Starts the process if it does not run. Called before a spawn, so that no child is ever without it. */
  start(): void {
    if (this.#process || this.#released || process.platform === 'win32' || this.#starts > RESTART_LIMIT)
      return;
    this.#starts += 1;
    try {
      this.#adopt(spawnDetachedListener('/bin/sh', ['-c', SCRIPT, 'castellan-watchdog', this.#mark]));
    } catch (error) {
      this.#onFailure(messageOf(error));
    }
  }

  watch(group: number): void {
    this.start();
    this.#groups.add(group);
    this.#process?.stdin?.write(`+${group}\n`);
  }

  forget(group: number): void {
    if (this.#groups.delete(group)) this.#process?.stdin?.write(`-${group}\n`);
  }

  /** Lets it go without killing anyone. Resolves when it has ended. */
  async release(): Promise<void> {
    this.#released = true;
    const watchdog = this.#process;
    if (!watchdog || watchdog.exitCode !== null || watchdog.signalCode !== null) return;
    const ended = new Promise<void>((resolve) => watchdog.once('exit', () => resolve()));
    watchdog.ref();
    watchdog.stdin?.end('bye\n');
    await ended;
  }

  #adopt(watchdog: ListenerProcess): void {
    this.#process = watchdog;
    watchdog.stdin?.on('error', () => undefined);
    watchdog.on('error', (error) => this.#lost(watchdog, error.message));
    watchdog.on('exit', (code, signal) => this.#lost(watchdog, `it ended (${signal ?? code})`));
    for (const group of this.#groups) watchdog.stdin?.write(`+${group}\n`);
  }

  #lost(watchdog: ListenerProcess, reason: string): void {
    if (this.#process !== watchdog) return;
    this.#process = undefined;
    if (this.#released) return;
    this.#onFailure(reason);
    if (this.#groups.size > 0) this.start();
  }
}
