import type { ChildProcesses } from '../base/child-processes.ts';
import type { ServerClient } from '../net/server-client.ts';
import type { ServerEntry, ServerSpec, StdioTarget } from '../resources/spec.ts';
import type { Credential } from '../vendors/credential.ts';
import { HttpTransport } from './http-transport.ts';
import { SseTransport } from './sse-transport.ts';
import { StdioTransport } from './stdio-transport.ts';
import type { TransportFactory } from './upstreams.ts';

/** One line of a stdio server may be larger than any result that a call accepts. */
const MAX_LINE_SLACK = 1024 * 1024;
const MIN_LINE_BYTES = 32 * 1024 * 1024;

type StdioEntry = { name: string; spec: ServerSpec & { target: StdioTarget } };

/**
 * Which transport reaches which kind of server.
 * @param starting is told of a stdio server right before its process starts
 */
export function transportsOver(
  children: ChildProcesses,
  client: ServerClient,
  starting: (entry: StdioEntry) => void,
): TransportFactory {
  const httpOptions = ({ name, spec }: ServerEntry, credential: Credential | undefined) => {
    if (spec?.target.type !== 'http') throw new Error(`${name} is no HTTP server`);
    return { url: spec.target.url, headers: spec.target.headers, credential, client, serverName: name };
  };
  return {
    stdio: ({ name, spec, confidential }, events) => {
      if (spec?.target.type !== 'stdio') throw new Error(`${name} is no stdio server`);
      const { target, lifecycle } = spec;
      starting({ name, spec: { ...spec, target } });
      const maxLineBytes = Math.max(lifecycle.maxResultBytes, MIN_LINE_BYTES) + MAX_LINE_SLACK;
      return new StdioTransport({ target, confidential, serverName: name, children, maxLineBytes }, events);
    },
    http: (entry, events, credential) => new HttpTransport(httpOptions(entry, credential), events),
    sse: (entry, events, credential) => new SseTransport(httpOptions(entry, credential), events),
  };
}
