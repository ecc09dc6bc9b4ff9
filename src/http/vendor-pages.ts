import { Hono } from 'hono';
import { CLIENT_NAME, type OwnAddresses } from '../vendors/registration.ts';
import { messagePage } from './pages/layout.ts';

export type VendorPagesDeps = { ownAddresses(): OwnAddresses; publicUrl: string | undefined };

/**
 * Where a browser comes back to after signing in for a server, and the document that says who Castellan is. The page
 * completes nothing by itself: whoever began the sign-in hands over its address, so that nobody's browser can be led to
 * finish a sign-in of somebody else.
 */
export function vendorPages({ ownAddresses, publicUrl }: VendorPagesDeps): Hono {
  const app = new Hono();
  app.get('/oauth/callback/:server', (c) =>
    c.html(
      messagePage(
        'Back from signing in',
        'Copy the whole address of this page, and paste it where castellan mcp login waits for it.',
        'It works once, and only for the sign-in that it answers.',
      ),
    ),
  );
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
      redirect_uris: [documentRedirect],
      grant_types: ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
    });
  });
  return app;
}
