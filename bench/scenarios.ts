import { dirname } from 'node:path';
import { pathInBench } from './child-processes.ts';
import type { Target } from './client/job.ts';
import { FILE, type Operation } from './client/wire.ts';
import { ERAS, type Era } from './era.ts';
import type { FloorRoutes } from './floor/server.ts';
import { LIST_SERVERS, TOOLS_PER_LIST_SERVER, type UpstreamUrls } from './upstream/http-server.ts';

/** direct: the client speaks to the upstream itself · floor and castellan: through that gateway. */
export type Contender = 'direct' | 'floor' | 'castellan';

/** Where a contender is reached, and what it calls the tool. */
export type Aim = { target: Target; tool: string };

export type Scenario = {
  title: string;
  era: Era;
  operation: Operation;
  concurrency: number;
  tools: number;
  aims: Partial<Record<Contender, Aim>>;
};

/** Names and tokens of the Castellan under test. `calls` holds every echo server, `lists-<era>` ten list servers. */
export type CastellanAccess = { url: string; tokens: Record<string, string> };

/** Projects whose calls may change something: `strict` ones wait until they are announced on the disk. */
export const INTENTS = ['strict', 'relaxed'] as const;
export type Intent = (typeof INTENTS)[number];
export const changesProject = (intent: Intent): string => `changes-${intent}`;

/** What is called here only reads, as its operator says. */
export const callServer = (era: Era): string => `http-${era}`;
export const changesServer = (era: Era): string => `changes-${era}`;
/** The bare server, and one made with the official SDK, which speaks both eras. */
export const STDIO_KINDS = ['bare', 'sdk'] as const;
export type StdioKind = (typeof STDIO_KINDS)[number];
export const stdioServer = (kind: StdioKind, era: Era): string => `stdio-${kind}-${era}`;
export const stdioArgs = (kind: StdioKind, era: Era): string[] =>
  kind === 'bare'
    ? [pathInBench('upstream/stdio-server.ts'), era]
    : [pathInBench('upstream/sdk-stdio-server.ts')];

/** A server from npm that does something: it reads a file, after it looked whether it may. It speaks the legacy era. */
export const FILES_SERVER = 'stdio-files';
export const filesArgs = (): string[] => [
  pathInBench('../node_modules/@modelcontextprotocol/server-filesystem/dist/index.js'),
  dirname(FILE),
];

export function floorRoutes(upstream: UpstreamUrls): FloorRoutes {
  const routes: FloorRoutes = { http: {}, stdio: { [`/${FILES_SERVER}`]: filesArgs() } };
  for (const era of ERAS) {
    routes.http[`/${callServer(era)}`] = upstream[era].call;
    routes.http[`/list-${era}`] = upstream[era].bigList;
    for (const kind of STDIO_KINDS) routes.stdio[`/${stdioServer(kind, era)}`] = stdioArgs(kind, era);
  }
  return routes;
}

type Peers = { upstream: UpstreamUrls; floorUrl: string; castellan: CastellanAccess | undefined };

export function allScenarios(peers: Peers): Scenario[] {
  const scenarios = ERAS.flatMap((era) => [
    ...[1, 16, 64].map((concurrency) => callScenario(peers, era, concurrency)),
    ...[1, 16].map((concurrency) => listScenario(peers, era, concurrency)),
    ...STDIO_KINDS.flatMap((kind) =>
      [1, 16].map((concurrency) => stdioScenario(peers, kind, era, concurrency)),
    ),
    ...(era === 'legacy' ? filesScenarios(peers) : []),
  ]);
  const announced = INTENTS.flatMap((intent) =>
    [16, 64].map((concurrency) => changeScenario(peers, intent, concurrency)),
  );
  return peers.castellan === undefined
    ? scenarios
    : [...scenarios, ...announced, ...ERAS.map((era) => bridgeScenario(peers, era))];
}

function http(url: string, tool: string): Aim {
  return { target: { kind: 'http', url }, tool };
}

function throughCastellan(peers: Peers, project: string, tool: string): { castellan?: Aim } {
  if (peers.castellan === undefined) return {};
  const url = `${peers.castellan.url}/projects/${project}/mcp`;
  return { castellan: { target: { kind: 'http', url, token: peers.castellan.tokens[project] }, tool } };
}

function callScenario(peers: Peers, era: Era, concurrency: number): Scenario {
  const server = callServer(era);
  const aims = {
    direct: http(peers.upstream[era].call, 'echo'),
    floor: http(`${peers.floorUrl}/${server}`, `${server}__echo`),
    ...throughCastellan(peers, 'calls', `${server}__echo`),
  };
  return { title: 'tools/call, HTTP', era, operation: 'call', concurrency, tools: 0, aims };
}

/** Calls that the audit announces before the server hears of them; direct and floor keep no record. */
function changeScenario(peers: Peers, intent: Intent, concurrency: number): Scenario {
  const scenario = callScenario(peers, 'modern', concurrency);
  const through = throughCastellan(peers, changesProject(intent), `${changesServer('modern')}__echo`);
  const title = `tools/call, HTTP, announced (${intent})`;
  return { ...scenario, title, aims: { ...scenario.aims, ...through } };
}

/** Direct and floor ask one server for all 200 tools; Castellan gathers them from ten servers. */
function listScenario(peers: Peers, era: Era, concurrency: number): Scenario {
  const aims = {
    direct: http(peers.upstream[era].bigList, ''),
    floor: http(`${peers.floorUrl}/list-${era}`, ''),
    ...throughCastellan(peers, `lists-${era}`, ''),
  };
  const tools = LIST_SERVERS * TOOLS_PER_LIST_SERVER;
  return { title: `tools/list, ${tools} tools`, era, operation: 'list', concurrency, tools, aims };
}

function stdioScenario(peers: Peers, kind: StdioKind, era: Era, concurrency: number): Scenario {
  const server = stdioServer(kind, era);
  const direct: Aim = { target: { kind: 'stdio', args: stdioArgs(kind, era) }, tool: 'echo' };
  const aims = {
    direct,
    floor: http(`${peers.floorUrl}/${server}`, `${server}__echo`),
    ...throughCastellan(peers, 'calls', `${server}__echo`),
  };
  const title = kind === 'bare' ? 'tools/call, stdio' : 'tools/call, stdio, SDK server';
  return { title, era, operation: 'call', concurrency, tools: 0, aims };
}

/** Calls for which a server works, as most do that people run: a millisecond and less, and some milliseconds. */
function filesScenarios(peers: Peers): Scenario[] {
  return [
    ...[1, 16, 64].map((concurrency) => filesScenario(peers, 'read', concurrency)),
    filesScenario(peers, 'search', 16),
  ];
}

function filesScenario(peers: Peers, operation: 'read' | 'search', concurrency: number): Scenario {
  const tool = operation === 'read' ? 'read_text_file' : 'search_files';
  const aims = {
    direct: { target: { kind: 'stdio', args: filesArgs() }, tool } satisfies Aim,
    floor: http(`${peers.floorUrl}/${FILES_SERVER}`, `${FILES_SERVER}__${tool}`),
    ...throughCastellan(peers, 'calls', `${FILES_SERVER}__${tool}`),
  };
  const title = `tools/call, stdio, ${operation === 'read' ? 'reading a file' : 'searching files'}`;
  return { title, era: 'legacy', operation, concurrency, tools: 0, aims };
}

/** A client of one era at a server of the other; direct and floor, which cannot translate, stay within the client's era. */
function bridgeScenario(peers: Peers, era: Era): Scenario {
  const other = era === 'legacy' ? 'modern' : 'legacy';
  const bridged = throughCastellan(peers, 'calls', `${callServer(other)}__echo`);
  const scenario = callScenario(peers, era, 16);
  return {
    ...scenario,
    title: `tools/call, HTTP, to a ${other} server`,
    aims: { ...scenario.aims, ...bridged },
  };
}
