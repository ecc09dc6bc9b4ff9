/**
 * Results that were too long for their reader, kept for it on the disk of this process: sealed with a key that no disk
 * ever sees, so that a file is worth nothing without the process that wrote it.
 *
 * A result is there until its time is over, until newer ones of its owner, or of all, need the room, or until the
 * process ends. What is in the folder and not known here is removed.
 */
import { randomBytes } from 'node:crypto';
import { promises as fs } from 'node:fs';
import path from 'node:path';
import { setInterval } from 'node:timers';
import { setImmediate } from 'node:timers/promises';
import { messageOf } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import type { Logger } from '../base/logger.ts';
import { Sealer } from '../base/seal.ts';

/** Whose it is, from which tool, and its whole text. */
export type NewResult = { owner: string; tool: string; sections: readonly string[]; bytes: number };

export type KeptResult = {
  readonly id: string;
  /** Canonical name. */
  readonly tool: string;
  readonly sections: number;
  readonly bytes: number;
  readonly expiresAt: number;
};

export type KeptBounds = {
  perOwner: number;
  perOwnerBytes: number;
  total: number;
  totalBytes: number;
  lifetimeMs: number;
};

export const KEPT_BOUNDS: KeptBounds = {
  perOwner: 500,
  perOwnerBytes: 32 * 1024 * 1024,
  total: 5_000,
  totalBytes: 256 * 1024 * 1024,
  lifetimeMs: 3_600_000,
};
const SWEEP_MS = 60_000;
const PURPOSE = 'result';
const SEALED_AT_ONCE = 256;
/** A folder of another process that nobody has written to for so long holds nothing that is still wanted, ms. */
const ABANDONED_MS = 24 * 3_600_000;
const INSTANCE = /^ins_[0-9A-Za-z]{22}$/;

/** `ends`: where each sealed section ends in the file. */
type Entry = KeptResult & { owner: string; size: number; ends: readonly number[] };

export class KeptResults {
  readonly #folder: string;
  readonly #bounds: KeptBounds;
  readonly #logger: Logger;
  readonly #sealer = new Sealer({ bytes: randomBytes(32) });
  /** The oldest first. */
  readonly #entries = new Map<string, Entry>();
  readonly #timer: NodeJS.Timeout;
  #failing = false;

  /** @param cacheDir of which a folder named after `instanceId` is this process's alone */
  constructor(cacheDir: string, instanceId: string, logger: Logger, bounds = KEPT_BOUNDS) {
    this.#folder = path.join(cacheDir, 'results', instanceId);
    this.#logger = logger;
    this.#bounds = bounds;
    this.#timer = setInterval(() => void this.sweep(), SWEEP_MS).unref();
  }

  /** Removes what an earlier process left here, and what others abandoned. */
  async open(): Promise<void> {
    await this.sweep();
    const all = path.dirname(this.#folder);
    const own = path.basename(this.#folder);
    for (const name of await namesIn(all)) {
      if (name === own || !INSTANCE.test(name)) continue;
      const folder = path.join(all, name);
      const { mtimeMs } = await fs.lstat(folder).catch(() => ({ mtimeMs: Date.now() }));
      if (mtimeMs < Date.now() - ABANDONED_MS)
        await fs.rm(folder, { recursive: true, force: true }).catch(() => {});
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#entries.clear();
    await fs.rm(this.#folder, { recursive: true, force: true }).catch(() => {});
  }

  /** Undefined: it cannot be kept, for it is too large or the disk does not take it. */
  async keep({ owner, tool, sections, bytes }: NewResult): Promise<KeptResult | undefined> {
    const id = newId('res');
    const sealed: string[] = [];
    for (const [index, text] of sections.entries()) {
      sealed.push(this.#sealer.seal(PURPOSE, text, contextOf(owner, id, index)));
      // Others are served meanwhile.
      if (index % SEALED_AT_ONCE === SEALED_AT_ONCE - 1) await setImmediate();
    }
    let end = 0;
    const ends = sealed.map((text) => {
      end += text.length;
      return end;
    });
    if (end > this.#bounds.perOwnerBytes) return undefined;
    const expiresAt = Date.now() + this.#bounds.lifetimeMs;
    const entry = { id, tool, sections: sections.length, bytes, expiresAt, owner, size: end, ends };
    // It has its place before it is written, or many at once would find the same room.
    this.#entries.set(id, entry);
    this.#makeRoom(owner);
    try {
      await fs.mkdir(this.#folder, { recursive: true, mode: 0o700 });
      await fs.writeFile(this.#fileOf(id), sealed.join(''), { flag: 'wx', mode: 0o600 });
      this.#failing = false;
      return entry;
    } catch (error) {
      this.#tellOnce(error);
      this.#remove(entry);
      return undefined;
    }
  }

  /** What is known of a result; undefined where this owner has none of that id. */
  find(owner: string, id: string): KeptResult | undefined {
    const entry = this.#entries.get(id);
    if (entry?.owner !== owner) return undefined;
    if (entry.expiresAt > Date.now()) return entry;
    this.#remove(entry);
    return undefined;
  }

  /** One section, counted from 1, or with none named the whole text; undefined: it is gone. */
  async read({ id }: KeptResult, section?: number): Promise<string | undefined> {
    const entry = this.#entries.get(id);
    if (!entry) return undefined;
    try {
      const wanted = section === undefined ? entry.ends.keys() : [section - 1];
      return await this.#opened(entry, [...wanted]);
    } catch (error) {
      this.#logger.debug({ error: messageOf(error) }, 'a kept result cannot be read any more');
      this.#remove(entry);
      return undefined;
    }
  }

  /** Makes the folder hold what is known here and still wanted, and nothing else. */
  async sweep(): Promise<void> {
    const now = Date.now();
    for (const entry of [...this.#entries.values()]) if (entry.expiresAt <= now) this.#remove(entry);
    for (const name of await namesIn(this.#folder)) if (!this.#entries.has(name)) await this.#unlink(name);
  }

  async #opened({ id, owner, ends }: Entry, indexes: readonly number[]): Promise<string> {
    const file = await fs.open(this.#fileOf(id), 'r');
    try {
      let text = '';
      for (const index of indexes) {
        const start = ends[index - 1] ?? 0;
        const length = ends[index]! - start;
        const { buffer } = await file.read({ buffer: Buffer.alloc(length), position: start, length });
        const opened = this.#sealer.open(PURPOSE, buffer.toString('latin1'), contextOf(owner, id, index));
        if (!opened.ok) throw new Error(`its file is ${opened.error}`);
        text += opened.value;
      }
      return text;
    } finally {
      await file.close();
    }
  }

  /** The oldest of an owner who has too many go first, then the oldest of all. */
  #makeRoom(owner: string): void {
    const { perOwner, perOwnerBytes, total, totalBytes } = this.#bounds;
    const own = [...this.#entries.values()].filter((entry) => entry.owner === owner);
    this.#trim(own, perOwner, perOwnerBytes);
    this.#trim([...this.#entries.values()], total, totalBytes);
  }

  /** @param entries the oldest first */
  #trim(entries: Entry[], count: number, bytes: number): void {
    let size = sizeOf(entries);
    for (const [index, entry] of entries.entries()) {
      if (entries.length - index <= count && size <= bytes) return;
      size -= entry.size;
      this.#remove(entry);
    }
  }

  #remove({ id }: Entry): void {
    this.#entries.delete(id);
    void this.#unlink(id);
  }

  async #unlink(name: string): Promise<void> {
    await fs.rm(path.join(this.#folder, name), { recursive: true, force: true }).catch(() => {});
  }

  #fileOf(id: string): string {
    return path.join(this.#folder, id);
  }

  #tellOnce(error: unknown): void {
    if (!this.#failing)
      this.#logger.warn(
        { error: messageOf(error) },
        'long results cannot be kept; they are cut, and the rest is lost',
      );
    this.#failing = true;
  }
}

function sizeOf(entries: Iterable<Entry>): number {
  let size = 0;
  for (const entry of entries) size += entry.size;
  return size;
}

/** Ties a section to whose it is and where it stands. */
function contextOf(owner: string, id: string, index: number): string {
  return JSON.stringify([owner, id, index]);
}

async function namesIn(folder: string): Promise<string[]> {
  return fs.readdir(folder).catch(() => []);
}
