import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { parse } from 'yaml';

type Requirements = { client: string[]; not_scored: { scenario: string; leg: string; reason: string }[] };

const entry = createRequire(import.meta.url).resolve('@modelcontextprotocol/conformance/dist/index.js');
const FOLDER = path.join(path.dirname(entry), '../requirements');
const REVISIONS = ['2025-11-25', '2026-07-28'];

/** What each revision requires of a client, as the suite froze it: scenario, revision. */
export const REQUIRED_OF_CLIENTS: [string, string][] = REVISIONS.flatMap((revision) =>
  read(revision).client.map((scenario): [string, string] => [scenario, revision]),
);

/** What the suite has for clients beyond that: scenario, why it does not count. */
export const UNSCORED_FOR_CLIENTS: ReadonlyMap<string, string> = new Map(
  REVISIONS.flatMap((revision) => read(revision).not_scored)
    .filter(({ leg }) => leg === 'client')
    .map(({ scenario, reason }) => [scenario, reason]),
);

function read(revision: string): Requirements {
  return parse(readFileSync(path.join(FOLDER, `${revision}.yaml`), 'utf8')) as Requirements;
}
