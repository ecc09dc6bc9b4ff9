import type { ServerResponse } from 'node:http';
import { idOf, ScriptedUpstream, type Seen, sendJson } from './scripted-upstream.ts';
import { type CatalogueServer, toolCatalogue } from './tool-catalogue.ts';

type Call = { server: string; name: string; arguments: Record<string, unknown> };

/** The servers of the tool catalogue on one port, a path each, every other one of the older era; keeps their calls. */
export class CatalogueUpstream implements AsyncDisposable {
  readonly servers: readonly CatalogueServer[] = toolCatalogue();
  readonly calls: Call[] = [];
  #upstream!: ScriptedUpstream;

  static async start(): Promise<CatalogueUpstream> {
    const catalogue = new CatalogueUpstream();
    catalogue.#upstream = await ScriptedUpstream.start((seen, response) => catalogue.#serve(seen, response));
    return catalogue;
  }

  /** The servers as a configuration file names them. */
  config(more: object = {}): Record<string, object> {
    const entries = this.servers.map(({ name }) => [
      name,
      { url: `${this.#upstream.origin}/${name}`, ...more },
    ]);
    return Object.fromEntries(entries);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#upstream[Symbol.asyncDispose]();
  }

  #serve(seen: Seen, response: ServerResponse): void {
    const at = this.servers.findIndex(({ name }) => seen.url === `/${name}`);
    const server = this.servers[at];
    if (seen.method !== 'POST' || !server) {
      response.writeHead(405).end();
      return;
    }
    const modern = at % 2 === 0;
    const id = idOf(seen);
    const { method, params } = JSON.parse(seen.body) as { method: string; params?: Call };
    const answer = (result: object) =>
      sendJson(response, {
        jsonrpc: '2.0',
        id,
        result: modern ? { resultType: 'complete', ...result } : result,
      });
    const capabilities = { tools: {}, prompts: {} };
    const serverInfo = { name: server.name, version: '1' };
    const instructions = `Tools of ${server.product}. Ask before you change what others see.`;
    if (id === undefined) response.writeHead(202).end();
    else if (method === 'server/discover' && modern)
      answer({ supportedVersions: ['2026-07-28'], capabilities, serverInfo, instructions });
    else if (method === 'initialize' && !modern)
      answer({ protocolVersion: '2025-11-25', capabilities, serverInfo, instructions });
    else if (method === 'tools/list') answer({ tools: server.tools });
    else if (method === 'prompts/list') {
      const description = `Sums up what happened in ${server.product} in the last days`;
      answer({ prompts: [{ name: 'weekly_summary', description }] });
    } else if (method === 'tools/call' && params) {
      this.calls.push({ server: server.name, name: params.name, arguments: params.arguments });
      answer({ content: [{ type: 'text', text: `${server.name} did ${params.name}` }] });
    } else sendJson(response, { jsonrpc: '2.0', id, error: { code: -32601, message: 'no' } }, 400);
  }
}
