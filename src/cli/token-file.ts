import { open, rm } from 'node:fs/promises';
import { messageOf } from '../base/errors.ts';
import { writePrivateFile } from '../store/private-file.ts';
import { failed } from './exit.ts';

/**
 * A file for new tokens, `NAME<TAB>TOKEN` a line, readable by its owner alone. Written anew with every token, so that
 * an interruption loses none; removed again when there was none.
 */
export class TokenFile {
  readonly #path: string;
  #lines = '';

  private constructor(path: string) {
    this.#path = path;
  }

  /** Claims the name before any token is made. @throws CommandFailure when it exists or cannot be written */
  static async create(path: string): Promise<TokenFile> {
    try {
      await (await open(path, 'wx', 0o600)).close();
    } catch (error) {
      const exists = (error as NodeJS.ErrnoException).code === 'EEXIST';
      throw failed(
        exists
          ? `--tokens-out ${path} exists already; name another file, so that no token is lost`
          : `--tokens-out ${path} cannot be written: ${messageOf(error)}`,
      );
    }
    return new TokenFile(path);
  }

  async add(name: string, token: string): Promise<void> {
    this.#lines += `${name}\t${token}\n`;
    await writePrivateFile(this.#path, this.#lines);
  }

  async finish(): Promise<void> {
    if (this.#lines === '') await rm(this.#path, { force: true });
  }
}
