import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { administrate } from '../support/agent.ts';
import { startCastellan } from '../support/running-castellan.ts';
import { type HeaderProxy, startHeaderProxy } from './header-proxy.ts';

/** An upstream to put Castellan in front of, in a project of its own. */
export type Upstream = { name: string; url: string; protocol: string };

export type Gateway = AsyncDisposable & {
  /** Where a client without a token finds that upstream through Castellan. */
  proxied(name: string): string;
  endpoint(name: string): { url: string; token: string };
};

/** Starts one Castellan with a project, a token and a proxy that adds it, for each upstream. */
export async function startGateway(upstreams: readonly Upstream[]): Promise<Gateway> {
  await using cleanup = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(tmpdir(), 'castellan-conformance-'));
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const config = path.join(folder, 'config.yaml');
  await writeFile(config, upstreams.flatMap(documents).join('\n---\n'));
  const proxies = new Map<string, HeaderProxy>();
  for (const { name } of upstreams) proxies.set(name, cleanup.use(await startHeaderProxy()));
  const origins = [...proxies.values()].map((proxy) => new URL(proxy.url).origin).join(',');
  const castellan = cleanup.use(
    await startCastellan(['--config', config], { env: { CASTELLAN_ALLOWED_ORIGINS: origins } }),
  );
  const endpoints = new Map<string, { url: string; token: string }>();
  for (const { name } of upstreams) {
    const wish = { project: name, name: 'suite', rbac: 'clone', surfaces: ['consumer'] };
    const { token } = await administrate(castellan, 'POST', '/mcptokens', wish);
    const endpoint = { url: `${castellan.url}/projects/${name}/mcp`, token: String(token) };
    endpoints.set(name, endpoint);
    proxies.get(name)!.forward(endpoint.url, endpoint.token);
  }
  const resources = cleanup.move();
  return {
    proxied: (name) => proxies.get(name)!.url,
    endpoint: (name) => endpoints.get(name)!,
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

function documents({ name, url, protocol }: Upstream): string[] {
  const apiVersion = 'castellan/v1';
  const server = {
    apiVersion,
    kind: 'Server',
    metadata: { name },
    spec: { url, protocol, prefix: 'never' },
  };
  const project = { apiVersion, kind: 'Project', metadata: { name }, spec: { servers: [name] } };
  return [server, project].map((document) => JSON.stringify(document));
}
