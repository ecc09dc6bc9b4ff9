import { administrate } from '../support/agent.ts';
import type { TestCastellan } from '../support/running-castellan.ts';

/** What the suite gives a client before it starts. */
export type SuiteContext = { client_id?: string; client_secret?: string; private_key_pem?: string } | null;

/** A Castellan that runs already, as it is handed from one process to another. */
export type CastellanAtHand = Pick<TestCastellan, 'url' | 'dataDir'>;

type Server = { url: string; protocol: string };

const DOCUMENT = 'https://conformance-test.local/client-metadata.json';
/** The line that Castellan wants to see before it asks another origin. */
const ALLOW = /its auth: discovery: true, discoveryAllowlist: \[([^\]]+)\]/;

/** Somebody who sets up one server that wants tokens, and does whatever Castellan says has to be done. */
export class Operator {
  readonly #castellan: TestCastellan;
  readonly #name: string;
  readonly #server: Server;
  readonly #auth: Record<string, unknown> = { type: 'oauth' };

  private constructor(castellan: CastellanAtHand, name: string, server: Server) {
    this.#castellan = castellan as TestCastellan;
    this.#name = name;
    this.#server = server;
  }

  /** @param name of the server, of its project and of its secrets: nobody else's in this Castellan */
  static async begin(
    castellan: CastellanAtHand,
    name: string,
    server: Server,
    scenario: string,
    context: SuiteContext,
  ): Promise<Operator> {
    const operator = new Operator(castellan, name, server);
    const { client_id, client_secret, private_key_pem } = context ?? {};
    if (client_id !== undefined) operator.#auth.clientId = client_id;
    if (client_secret !== undefined) await operator.#secret('clientSecret', client_secret);
    if (private_key_pem !== undefined) await operator.#secret('privateKey', private_key_pem);
    if (scenario.startsWith('auth/client-credentials')) operator.#auth.grant = 'client_credentials';
    if (scenario === 'auth/basic-cimd') operator.#auth.clientMetadataUrl = DOCUMENT;
    await operator.#put('Server', 'servers', { ...server, prefix: 'never', auth: operator.#auth });
    await operator.#put('Project', 'projects', { servers: [name] });
    return operator;
  }

  /** Where an agent finds the server, and with which token. */
  async endpoint(): Promise<{ url: string; token: string }> {
    const wish = { project: this.#name, name: this.#name, rbac: 'clone', surfaces: ['consumer'] };
    const { token } = await administrate(this.#castellan, 'POST', '/mcptokens', wish);
    return { url: `${this.#castellan.url}/projects/${this.#name}/mcp`, token: String(token) };
  }

  /** Connects the server, signing in and allowing origins for as long as Castellan asks for it. */
  async connect(): Promise<void> {
    for (;;) {
      const error = await failureOf(this.#post('connect', undefined));
      if (error === undefined) return;
      if (await this.#allow(error)) continue;
      if (!error.message.includes(`castellan mcp login ${this.#name}`)) throw error;
      await this.signIn();
    }
  }

  /** Goes where Castellan says, agrees, and hands over where the browser was sent. */
  async signIn(): Promise<void> {
    let page: { url?: string } = {};
    const error = await failureOf(
      this.#post('login', { flow: 'paste' }).then((step) => {
        page = step;
      }),
    );
    if (error) {
      if (await this.#allow(error)) return this.signIn();
      throw error;
    }
    const answer = await fetch(page.url ?? '', { redirect: 'manual' });
    const back = answer.headers.get('location');
    if (back === null) throw new Error(`${page.url} sends nobody back`);
    await this.#post('login/complete', { url: back });
  }

  /** Writes the line that Castellan asks for into the server's configuration. */
  async #allow({ message }: Error): Promise<boolean> {
    const [, list] = ALLOW.exec(message) ?? [];
    if (list === undefined) return false;
    Object.assign(this.#auth, { discovery: true, discoveryAllowlist: list.split(', ') });
    await this.#put('Server', 'servers', { ...this.#server, prefix: 'never', auth: this.#auth });
    return true;
  }

  async #secret(field: 'clientSecret' | 'privateKey', value: string): Promise<void> {
    await this.#put('Secret', 'secrets', { data: { [field]: value } });
    this.#auth[field] = `\${secret:${this.#name}.${field}}`;
  }

  #put(kind: string, plural: string, spec: object): Promise<unknown> {
    const object = { kind, metadata: { name: this.#name }, spec };
    return administrate(this.#castellan, 'PUT', `/${plural}/${this.#name}`, object);
  }

  #post(what: string, body: object | undefined): Promise<{ url?: string }> {
    return administrate(this.#castellan, 'POST', `/servers/${this.#name}/${what}`, body);
  }
}

async function failureOf(work: Promise<unknown>): Promise<Error | undefined> {
  return work.then(
    () => undefined,
    (error: Error) => error,
  );
}
