import { readFileSync } from 'node:fs';

/** The version in package.json, which lies two folders above this file both in a checkout and in a package. */
export function packageVersion(): string {
  const manifest = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return String((JSON.parse(manifest) as { version?: unknown }).version ?? '0.0.0');
}
