import { administrate } from '../support/agent.ts';
import { runCli, startCastellan, type TestCastellan } from '../support/running-castellan.ts';

/** What the suite gives a client before it starts. */
export type SuiteContext = { client_id?: string; client_secret?: string; private_key_pem?: string } | null;

const NAME = 'mock';
const DOCUMENT = 'https://conformance-test.local/client-metadata.json';
/** The line that Castellan wants to see before it asks another origin. */
const ADD = /add to its auth: discovery: true, discoveryAllowlist: \[(\S+)\]/;
const SIGN_IN = /castellan mcp login mock/;

/** Somebody at a terminal who runs a Castellan before one server that wants tokens, and does what Castellan says. */
export class Operator implements AsyncDisposable {
  readonly #castellan: TestCastellan;
  readonly #server: { url: string; protocol: string };
  readonly #auth: Record<string, unknown>;
  readonly #allowed: string[] = [];

  private constructor(castellan: TestCastellan, server: { url: string; protocol: string }, auth: object) {
    this.#castellan = castellan;
    this.#server = server;
    this.#auth = { type: 'oauth', ...auth };
  }

  static async start(
    server: { url: string; protocol: string },
    scenario: string,
    context: SuiteContext,
  ): Promise<Operator> {
    const castellan = await startCastellan([]);
    const auth: Record<string, string> = {};
    const { client_id, client_secret, private_key_pem } = context ?? {};
    if (client_id !== undefined) auth.clientId = client_id;
    for (const [field, value] of Object.entries({
      clientSecret: client_secret,
      privateKey: private_key_pem,
    })) {
      if (value === undefined) continue;
      const args = [
        'create',
        'secret',
        field.toLowerCase(),
        '--from-file',
        'k=-',
        '--data-dir',
        castellan.dataDir,
      ];
      must(await runCli(args, { input: value }));
      auth[field] = `\${secret:${field.toLowerCase()}.k}`;
    }
    if (scenario.startsWith('auth/client-credentials')) auth.grant = 'client_credentials';
    if (scenario === 'auth/basic-cimd') auth.clientMetadataUrl = DOCUMENT;
    const operator = new Operator(castellan, server, auth);
    await operator.#apply();
    return operator;
  }

  /** Where an agent finds the server, and with which token. */
  async endpoint(): Promise<{ url: string; token: string }> {
    const wish = { project: NAME, name: 'suite', rbac: 'clone', surfaces: ['consumer'] };
    const { token } = await administrate(this.#castellan, 'POST', '/mcptokens', wish);
    return { url: `${this.#castellan.url}/projects/${NAME}/mcp`, token: String(token) };
  }

  /** Connects the server, signing in and allowing origins for as long as Castellan asks for it. */
  async connect(): Promise<void> {
    for (;;) {
      const { code, stderr } = await this.#castellan.cli('mcp', 'connect', NAME);
      if (code === 0) return;
      if (await this.#allow(stderr)) continue;
      if (!SIGN_IN.test(stderr)) throw new Error(stderr);
      await this.signIn();
    }
  }

  /** Goes where Castellan says, agrees, and pastes where the browser was sent. */
  async signIn(): Promise<void> {
    const { stderr } = await this.#castellan.cli('mcp', 'login', NAME, '--paste');
    if (await this.#allow(stderr)) return this.signIn();
    const [, page] = /^ {2}(http\S+)$/m.exec(stderr) ?? [];
    if (page === undefined) throw new Error(stderr);
    const answer = await fetch(page, { redirect: 'manual' });
    const back = answer.headers.get('location');
    if (back === null) throw new Error(`${page} sends nobody back`);
    must(await this.#castellan.cli('mcp', 'login', NAME, `--paste=${back}`));
  }

  async #allow(said: string): Promise<boolean> {
    const [, origin] = ADD.exec(said) ?? [];
    if (origin === undefined || this.#allowed.includes(origin)) return false;
    this.#allowed.push(origin);
    Object.assign(this.#auth, { discovery: true, discoveryAllowlist: this.#allowed });
    await this.#apply();
    return true;
  }

  async #apply(): Promise<void> {
    const spec = { ...this.#server, prefix: 'never', auth: this.#auth };
    const objects = [
      { kind: 'Server', metadata: { name: NAME }, spec },
      { kind: 'Project', metadata: { name: NAME }, spec: { servers: [NAME] } },
    ];
    const args = ['apply', '-f', '-', '--data-dir', this.#castellan.dataDir];
    must(await runCli(args, { input: JSON.stringify(objects) }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#castellan[Symbol.asyncDispose]();
  }
}

function must({ code, stdout, stderr }: { code: number | null; stdout: string; stderr: string }): void {
  if (code !== 0) throw new Error(`${stdout}${stderr}`);
}
