import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';
import { Client as OldClient } from '@modelcontextprotocol/sdk/client/index.js';
import {
  getDefaultEnvironment,
  StdioClientTransport as OldStdioTransport,
} from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport as OldHttpTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
} from '@modelcontextprotocol/sdk/types.js';
import type { Loose } from './agent.ts';
import { LAUNCHER } from './stdio-client.ts';

const INFO = { name: 'sdk-client', version: '1.0.0' };

/** How an official SDK reaches Castellan; `data` starts `mcp-serve` on a data directory, with a token or without. */
export type SdkWay =
  | { transport: 'http'; url: string; token: string }
  | { transport: 'stdio'; args: readonly string[]; token?: string };

/** What both SDKs can do alike. */
export type SdkClient = AsyncDisposable & {
  callTool(params: { name: string; arguments?: object }, options?: CallOptions): Promise<Loose>;
  listTools(): Promise<Loose>;
  close(): Promise<void>;
  /** Of `mcp-serve`; null over HTTP. */
  pid: number | null;
};
export type CallOptions = {
  timeout?: number;
  onprogress?: (progress: { progress: number }) => void;
  resetTimeoutOnProgress?: boolean;
};

/** Answers to what a server asks: by method. What is not here is not declared. */
export type Answers = { [method in keyof typeof OLD_SCHEMAS]?: (params: Loose) => Loose };

const OLD_SCHEMAS = {
  'elicitation/create': ElicitRequestSchema,
  'sampling/createMessage': CreateMessageRequestSchema,
  'roots/list': ListRootsRequestSchema,
};

/** Every SDK in every revision that it speaks. */
export const SDKS: Readonly<Record<string, (way: SdkWay, answers?: Answers) => Promise<SdkClient>>> = {
  'SDK 1.32': connectOld,
  'SDK 2.4, 2025-11-25': (way, answers) => connectNew(way, 'legacy', answers),
  'SDK 2.4, 2026-07-28': (way, answers) => connectNew(way, { pin: '2026-07-28' }, answers),
};

async function connectOld(way: SdkWay, answers: Answers = {}): Promise<SdkClient> {
  const client = new OldClient(INFO, { capabilities: capabilitiesFor(answers) });
  for (const [method, answer] of Object.entries(answers)) {
    const schema = OLD_SCHEMAS[method as keyof Answers];
    client.setRequestHandler(schema as never, ({ params }: Loose) => answer(params));
  }
  const transport =
    way.transport === 'http'
      ? new OldHttpTransport(new URL(way.url), headersOf(way.token))
      : new OldStdioTransport(commandOf(way));
  await client.connect(transport as never);
  return {
    callTool: (params, options) => client.callTool(params as never, undefined, options as never),
    listTools: () => client.listTools(),
    close: () => client.close(),
    [Symbol.asyncDispose]: () => client.close(),
    pid: (transport as { pid?: number | null }).pid ?? null,
  };
}

async function connectNew(
  way: SdkWay,
  mode: 'legacy' | 'auto' | { pin: string },
  answers: Answers = {},
): Promise<SdkClient> {
  const client = new Client(INFO, {
    capabilities: capabilitiesFor(answers),
    versionNegotiation: { mode },
  } as never);
  for (const [method, answer] of Object.entries(answers))
    client.setRequestHandler(method as never, (({ params }: Loose) => answer(params)) as never);
  const transport =
    way.transport === 'http'
      ? new StreamableHTTPClientTransport(new URL(way.url), headersOf(way.token))
      : new StdioClientTransport(commandOf(way));
  await client.connect(transport);
  return {
    callTool: (params, options) => client.callTool(params as never, options as never),
    listTools: () => client.listTools(),
    close: () => client.close(),
    [Symbol.asyncDispose]: () => client.close(),
    pid: (transport as { pid?: number | null }).pid ?? null,
  };
}

/** The client that finds out by itself what it talks to. */
export const connectAuto = (way: SdkWay): Promise<SdkClient> => connectNew(way, 'auto');

const headersOf = (token: string) => ({ requestInit: { headers: { Authorization: `Bearer ${token}` } } });

function commandOf({ args, token }: SdkWay & { transport: 'stdio' }) {
  const env: Record<string, string> = {
    ...getDefaultEnvironment(),
    ...(token && { CASTELLAN_TOKEN: token }),
  };
  return {
    command: process.execPath,
    args: [LAUNCHER, 'mcp-serve', ...args],
    env,
    stderr: 'ignore' as const,
  };
}

function capabilitiesFor(answers: Answers) {
  return {
    ...('elicitation/create' in answers && { elicitation: { form: {}, url: {} } }),
    ...('sampling/createMessage' in answers && { sampling: {} }),
    ...('roots/list' in answers && { roots: { listChanged: true } }),
  };
}
