import { execFile, execFileSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
const WAIT_MS = 20_000;
const LOOK_EVERY_MS = 50;

/** Why there is no terminal to test with here, if there is none. With `CI=true` there must be one. */
export function noTerminal(): string | undefined {
  try {
    execFileSync('tmux', ['-V'], { stdio: 'ignore' });
    return undefined;
  } catch {
    if (process.env.CI === 'true') throw new Error('tmux is required when CI=true');
    return 'tmux is not installed';
  }
}

/** A program in a real terminal, which tmux draws and a test reads. */
export class TerminalWindow implements AsyncDisposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Runs a shell command; when it has ended the window says `ended: CODE` and how the terminal was left. */
  static async open(command: string, size: { columns: number; rows: number }): Promise<TerminalWindow> {
    const window = new TerminalWindow(await mkdtemp(path.join(tmpdir(), 'castellan-window-')));
    const script = path.join(window.#folder, 'script.sh');
    // It begins only when all that it writes is kept.
    await writeFile(
      script,
      `stty -echo; read -r go; stty echo; echo before
(${command})
echo "ended: $?"
stty -a | tr ' ' '\\n' | grep -x -e '-*icanon;*' -e '-*echo;*' | tr '\\n' ' '
exec sleep 600
`,
    );
    const { columns, rows } = size;
    await window.#tmux(
      '-f',
      '/dev/null',
      'new-session',
      '-d',
      '-x',
      `${columns}`,
      '-y',
      `${rows}`,
      `sh ${script}`,
    );
    await window.#tmux('pipe-pane', `cat > ${window.#rawFile}`);
    await window.keys('Enter');
    return window;
  }

  get #rawFile(): string {
    return path.join(this.#folder, 'raw');
  }

  /** Names of keys as tmux knows them, or text. */
  async keys(...keys: string[]): Promise<void> {
    await this.#tmux('send-keys', ...keys);
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.#tmux('resize-window', '-x', `${columns}`, '-y', `${rows}`);
  }

  /** The process that runs in it, below the shell. */
  async pid(): Promise<number> {
    const shell = (await this.#tmux('display-message', '-p', '#{pane_pid}')).trim();
    const { stdout } = await run('ps', ['-o', 'pid=,ppid=,comm=', '-A']);
    const rows = stdout
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/\s+/));
    let parent = shell;
    for (;;) {
      const child = rows.find(([, ppid]) => ppid === parent);
      if (!child) return Number(parent);
      parent = child[0] ?? '';
    }
  }

  async screen(): Promise<string> {
    return this.#tmux('capture-pane', '-p');
  }

  /** Where the cursor is, and which modes of the terminal are on. */
  async modes(): Promise<{ cursor: boolean; alternate: boolean; wrap: boolean }> {
    const format = '#{cursor_flag} #{alternate_on} #{wrap_flag}';
    const [cursor, alternate, wrap] = (await this.#tmux('display-message', '-p', format)).trim().split(' ');
    return { cursor: cursor === '1', alternate: alternate === '1', wrap: wrap === '1' };
  }

  /** Everything that was written to it, byte for byte. */
  async raw(): Promise<string> {
    return readFile(this.#rawFile, 'utf8');
  }

  /** The screen once it looks as wanted. */
  async until(wanted: RegExp): Promise<string> {
    const deadline = Date.now() + WAIT_MS;
    for (;;) {
      const screen = await this.screen();
      if (wanted.test(screen)) return screen;
      if (Date.now() > deadline) throw new Error(`never ${wanted}:\n${screen}`);
      await pause(LOOK_EVERY_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tmux('kill-server');
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #tmux(...args: string[]): Promise<string> {
    const { stdout } = await run('tmux', ['-S', path.join(this.#folder, 'socket'), ...args]);
    return stdout;
  }
}
