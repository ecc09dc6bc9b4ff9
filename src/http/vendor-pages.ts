import { Hono } from 'hono';
import { CLIENT_NAME, type OwnAddresses } from '../vendors/registration.ts';

export type VendorPagesDeps = { ownAddresses(): OwnAddresses; publicUrl: string | undefined };

/** The document that says to authorization servers of others who Castellan is. */
export function vendorPages({ ownAddresses, publicUrl }: VendorPagesDeps): Hono {
  const app = new Hono();
  app.get('/oauth/client-metadata.json', (c) => {
    const { document, documentRedirect } = ownAddresses();
    if (document === undefined)
      return c.json(
        { error: 'not_found', error_description: 'this server has no https address of its own' },
        404,
      );
    c.header('cache-control', 'public, max-age=300');
    return c.json({
      client_id: document,
      client_name: CLIENT_NAME,
      client_uri: publicUrl,
      // The second one with whatever port a browser comes back to (RFC 8252 section 7.3).
      redirect_uris: [documentRedirect, 'http://127.0.0.1/callback'],
      grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    });
  });
  return app;
}
