import { html } from 'hono/html';

/** Every page of ours: no script, nothing from elsewhere, in no frame. */
export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
};

export const STYLE = `
:root { color-scheme: light dark; font: 17px/1.55 system-ui, sans-serif; }
body { max-width: 42rem; margin: 3rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; }
code, pre { font: .92em/1.5 ui-monospace, monospace; }
pre { padding: .8rem 1rem; border: 1px solid; border-radius: .5rem; overflow-x: auto; }
`;

/**
 * The front page: what this is and where to go. It is shown to anybody, so it names nothing of this installation but
 * `base`, the address that was asked.
 */
export function frontPage(base: string, version: string) {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Castellan</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<main>
<h1>Castellan</h1>
<p>A control plane for the Model Context Protocol: agents get one endpoint and one scoped token, their owner decides
what is behind it. Version ${version}.</p>
<h2>Connect an agent</h2>
<p>Its address is that of a project, its credential a token of that project:</p>
<pre>${base}/projects/PROJECT/mcp

castellan get projects
castellan create mcptoken my-agent -p PROJECT --rbac clone</pre>
<h2>Look around</h2>
<pre>castellan get servers
castellan mcp status
castellan --help</pre>
</main>
</body>
</html>`;
}
