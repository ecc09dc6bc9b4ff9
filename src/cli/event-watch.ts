import type { TailPage } from '../audit/tail.ts';
import { type OutputFormat, printItems } from './output.ts';
import { auditPrinting } from './printings.ts';
import type { ServerClient } from './server-client.ts';
import type { Terminal } from './terminal.ts';

type Filter = Readonly<Record<string, string | undefined>>;

/** Where the audit ends now. */
export async function endOfEvents(client: ServerClient, filter: Filter): Promise<string> {
  return (await pageAfter(client, filter, undefined)).next;
}

/** Prints each event after a place, until it is stopped. */
export async function followEvents(
  client: ServerClient,
  filter: Filter,
  place: string,
  output: OutputFormat,
  terminal: Terminal,
): Promise<void> {
  for (let after = place; ; ) {
    const page = await pageAfter(client, filter, after);
    if (page.items.length > 0) printItems(terminal, output, page.items, auditPrinting);
    after = page.next;
  }
}

async function pageAfter(client: ServerClient, filter: Filter, after: string | undefined): Promise<TailPage> {
  return (await client.get('audit', { ...filter, watch: true, after })) as unknown as TailPage;
}
