import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { canonicalJson } from '../../base/canonical-json.ts';
import { sha256Hex } from '../../base/ids.ts';
import { isObject } from '../../protocol/jsonrpc.ts';
import { readPrivateFile, writePrivateFile } from '../../store/private-file.ts';
import { failed } from '../exit.ts';

const MAX_BYTES = 4 * 1024 * 1024;

/**
 * What this user has read and lets run: of each file of a project, servers by the hash of their entry as it is written.
 * An entry that changes afterwards, be it by a pull, is one that nobody has read.
 */
export class TrustedServers {
  readonly #path: string;
  readonly #hashes: Record<string, Record<string, string>>;

  private constructor(file: string, hashes: Record<string, Record<string, string>>) {
    this.#path = file;
    this.#hashes = hashes;
  }

  /** @throws CommandFailure when the file is damaged, or others could have written it */
  static async read(folder: string): Promise<TrustedServers> {
    const file = path.join(folder, 'trusted.json');
    const read = await readPrivateFile(file, MAX_BYTES);
    if (!read) return new TrustedServers(file, {});
    if (read.openToOthers)
      throw failed(`${file} is open to other users: look at it, then run chmod 600 ${file}`);
    let value: unknown;
    try {
      value = JSON.parse(read.content);
    } catch {
      value = undefined;
    }
    if (!isObject(value) || !Object.values(value).every(isObject))
      throw failed(`${file} is damaged: delete it, and trust your servers again`);
    return new TrustedServers(file, value as Record<string, Record<string, string>>);
  }

  state(file: string, name: string, spec: unknown): 'trusted' | 'changed' | 'untrusted' {
    const known = Object.hasOwn(this.#hashes, file) ? this.#hashes[file] : undefined;
    if (!known || !Object.hasOwn(known, name)) return 'untrusted';
    return known[name] === hashOf(spec) ? 'trusted' : 'changed';
  }

  async trust(file: string, name: string, spec: unknown): Promise<void> {
    this.#hashes[file] = { ...this.#hashes[file], [name]: hashOf(spec) };
    await mkdir(path.dirname(this.#path), { recursive: true, mode: 0o700 });
    await writePrivateFile(this.#path, `${JSON.stringify(this.#hashes, null, 2)}\n`);
  }
}

const hashOf = (spec: unknown): string => sha256Hex(canonicalJson(spec));
