import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { findPackageJSON } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { messageOf } from '../base/errors.ts';
import { isMapping } from '../base/mapping.ts';
import type { BuiltinValue } from './expansion.ts';
import { nearest } from './names.ts';

/** `makesFolders`: false while somebody only asks whether an object would do. */
export type Bundled = { dataDir: string; nodePath: string; makesFolders?: boolean };

const KEYS = ['node', 'checkout', 'package:', 'folder:'];

/**
 * The meaning of `${castellan:KEY}`: `node` is the Node that runs Castellan; `checkout` the folder of the git checkout
 * that it runs from; `package:NAME` the command script of an
 * npm package installed beside Castellan; `folder:NAME` a folder for a server's own files below the data directory,
 * made (0700) when it is first named.
 */
export function bundledValue(key: string, { dataDir, nodePath, makesFolders = true }: Bundled): BuiltinValue {
  if (key === 'node') return { value: nodePath };
  if (key === 'checkout') return checkout();
  if (key.startsWith('package:')) return packageScript(key.slice('package:'.length));
  if (key.startsWith('folder:')) return serverFolder(key.slice('folder:'.length), dataDir, makesFolders);
  const meant = nearest(key, KEYS);
  return {
    error: `castellan:${key} is not known: ${meant ? `did you mean ${meant}?` : `use ${KEYS.join(', ')}`}`,
  };
}

function checkout(): BuiltinValue {
  const folder = resolve(import.meta.dirname, '../..');
  return existsSync(join(folder, '.git'))
    ? { value: folder }
    : { error: 'Castellan does not run from a git checkout: name the path of one' };
}

function packageScript(name: string): BuiltinValue {
  if (!/^(?:@[a-z0-9][a-z0-9._-]*\/)?[a-z0-9][a-z0-9._-]*$/.test(name) || name.length > 214) {
    return { error: `names no npm package: write \${castellan:package:NAME}` };
  }
  const missing = {
    error: `package ${name} is not installed beside Castellan: install it, or run it with npx`,
  };
  try {
    const manifest = findPackageJSON(name, import.meta.url);
    if (manifest === undefined) return missing;
    const script = commandScript(JSON.parse(readFileSync(manifest, 'utf8')));
    if (script === undefined)
      return { error: `package ${name} offers no command: use a package that has a "bin"` };
    return { value: resolve(dirname(manifest), script) };
  } catch (error) {
    if (isMapping(error) && error.code === 'ERR_MODULE_NOT_FOUND') return missing;
    return { error: `package ${name} cannot be read (${messageOf(error)}): install it again` };
  }
}

/** The script behind a package's command: the only one, or the one that is named like the package. */
function commandScript(manifest: unknown): string | undefined {
  if (!isMapping(manifest)) return undefined;
  if (typeof manifest.bin === 'string') return manifest.bin;
  if (!isMapping(manifest.bin)) return undefined;
  const unscoped = String(manifest.name).replace(/^@[^/]*\//, '');
  const script = manifest.bin[unscoped] ?? Object.values(manifest.bin)[0];
  return typeof script === 'string' ? script : undefined;
}

function serverFolder(name: string, dataDir: string, makes: boolean): BuiltinValue {
  if (!/^[a-z0-9][a-z0-9-]{0,39}$/.test(name)) {
    return { error: `names no folder: write \${castellan:folder:NAME} with letters, digits and "-"` };
  }
  const path = join(resolve(dataDir), 'folders', name);
  try {
    if (makes) mkdirSync(path, { recursive: true, mode: 0o700 });
    return { value: path };
  } catch (error) {
    return { error: `folder ${path} cannot be made (${messageOf(error)}): check the data directory` };
  }
}
