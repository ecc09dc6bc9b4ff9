import { messageOf } from '../../base/errors.ts';
import type { ServerStatus } from '../../http/api/live.ts';
import { type Check, printChecks } from '../checks.ts';
import { CommandFailure, Exit } from '../exit.ts';
import { connectLocally } from '../local/local-connection.ts';
import { readLocalServers, untrustedText } from '../local/local-servers.ts';
import { ServerClient, type ServerFlags } from '../server-client.ts';
import { cleanLine } from '../terminal.ts';
import type { VerbContext } from '../verbs.ts';
import type { LocalFlags } from './mcp-local.ts';
import { connectedText, type ListedServer } from './mcp-servers.ts';

const AT_ONCE = 4;
const CONNECT_TIMEOUT_MS = 30_000;

/** Connects to every server, and says of each that does not work what is wrong. */
export async function runMcpDoctor(
  flags: ServerFlags & LocalFlags & { output: 'text' | 'json' },
  context: VerbContext,
): Promise<void> {
  const checks = flags.local ? await localChecks(flags, context) : await serverChecks(flags, context);
  if (!printChecks(checks, flags.output, context)) context.finish(Exit.failed);
}

async function serverChecks(flags: ServerFlags, context: VerbContext): Promise<Check[]> {
  const client = await ServerClient.connect(flags, context);
  const { items } = await client.get('mcp/servers');
  if (items === undefined || (items as unknown[]).length === 0)
    return [{ check: 'servers', status: 'skipped', message: 'there are none' }];
  return inTurns(items as ListedServer[], async ({ name, error }): Promise<Check> => {
    if (error !== undefined) return { check: name, status: 'fail', message: cleanLine(error) };
    const startedAt = performance.now();
    try {
      const made = await client.post(`servers/${encodeURIComponent(name)}/connect`);
      const status = made as unknown as ServerStatus;
      return { check: name, status: 'pass', message: connectedText(status, performance.now() - startedAt) };
    } catch (fault) {
      const isForbidden = fault instanceof CommandFailure && fault.exitCode === Exit.notPermitted;
      return { check: name, status: isForbidden ? 'skipped' : 'fail', message: cleanLine(messageOf(fault)) };
    }
  });
}

async function localChecks(flags: LocalFlags, context: VerbContext): Promise<Check[]> {
  const { files, servers, faults } = await readLocalServers(flags.config, context);
  const found: Check[] = faults.map((message) => ({ check: 'files', status: 'fail', message }));
  if (found.length === 0) {
    const message = files.length > 0 ? files.join(', ') : 'there are none';
    found.push({ check: 'files', status: files.length > 0 ? 'pass' : 'skipped', message });
  }
  const connected = await inTurns(servers, async (server): Promise<Check> => {
    const { name, entry } = server;
    const fault = entry.error ?? untrustedText(server);
    if (fault !== undefined) return { check: name, status: 'fail', message: cleanLine(fault) };
    const startedAt = performance.now();
    try {
      const status = await connectLocally(server, CONNECT_TIMEOUT_MS, context);
      const ms = performance.now() - startedAt;
      return {
        check: name,
        status: 'pass',
        message: connectedText({ ...status, protocol: status.revision }, ms),
      };
    } catch (error) {
      return { check: name, status: 'fail', message: cleanLine(messageOf(error)) };
    }
  });
  return [...found, ...connected];
}

/** A few at a time, the answers in the order of the items. */
async function inTurns<Item, Answer>(
  items: readonly Item[],
  ask: (item: Item) => Promise<Answer>,
): Promise<Answer[]> {
  const answers: Answer[] = [];
  let next = 0;
  const worker = async () => {
    for (let at = next++; at < items.length; at = next++) answers[at] = await ask(items[at]!);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return answers;
}
