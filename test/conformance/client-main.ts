/**
 * The client that the suite starts, with the URL of its mock server as last argument: it connects to that server
 * through a Castellan of its own, or directly where CONFORMANCE_DIRECT is set. Where tokens are wanted it uses the one
 * that CONFORMANCE_CASTELLAN tells of.
 */
import { runAuthScenario } from './auth-scenarios.ts';
import { CLIENT_SCENARIOS, connector } from './client-scenarios.ts';
import { startGateway } from './gateway.ts';
import type { CastellanAtHand, SuiteContext } from './operator.ts';

/** The suite gives up on a client after half a minute, and does not end it. */
setTimeout(() => process.exit(1), 60_000).unref();

const url = process.argv.at(-1) ?? '';
const scenario = process.env.MCP_CONFORMANCE_SCENARIO ?? '';
const revision = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION ?? '2025-11-25';
const context: unknown = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? 'null');
const run = CLIENT_SCENARIOS[scenario];

if (scenario.startsWith('auth/')) {
  const castellan = JSON.parse(process.env.CONFORMANCE_CASTELLAN ?? '') as CastellanAtHand;
  await runAuthScenario(castellan, url, scenario, revision, context as SuiteContext);
} else if (!run) throw new Error(`no client for the scenario ${scenario}`);
else if (process.env.CONFORMANCE_DIRECT === '1') {
  await run(connector(url, undefined, revision), context);
} else {
  await using gateway = await startGateway([{ name: 'mock', url, protocol: revision }]);
  const endpoint = gateway.endpoint('mock');
  await run(connector(endpoint.url, endpoint.token, revision), context);
}
