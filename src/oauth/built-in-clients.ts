import type { ClientRecord, ClientSource } from './clients.ts';

export const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';

/** The command line: a public native client (RFC 8252), whose identity any program on the machine can claim. */
const COMMAND_LINE: ClientRecord = {
  clientId: 'castellan-cli',
  name: 'Castellan command line',
  source: 'built-in',
  redirectUris: ['http://127.0.0.1/callback', 'http://[::1]/callback', 'http://localhost/callback'],
  tokenEndpointAuthMethod: 'none',
  grantTypes: ['authorization_code', 'refresh_token', DEVICE_GRANT],
  applicationType: 'native',
};

/** The clients that every Castellan knows. */
export class BuiltInClients implements ClientSource {
  async find(clientId: string): Promise<ClientRecord | undefined> {
    return clientId === COMMAND_LINE.clientId ? COMMAND_LINE : undefined;
  }
}
