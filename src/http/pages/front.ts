import { html } from 'hono/html';
import { type Fragment, page } from './layout.ts';

/**
 * The front page: what this is and where to go. It is shown to anybody, so it names nothing of this installation but
 * `base`, the address that was asked.
 */
export function frontPage(base: string, version: string): Fragment {
  return page(
    { title: 'Welcome', wide: true, nav: html`<nav><a href="/account">Your account</a></nav>` },
    html`<section>
<h1>Castellan</h1>
<p>A control plane for the Model Context Protocol: agents get one endpoint and one scoped token, their owner decides
what is behind it. <span class="soft">Version ${version}.</span></p>
</section>
<section>
<h2>Connect an agent</h2>
<p>Its address is that of a project, its credential a token of that project:</p>
<pre tabindex="0">${base}/projects/PROJECT/mcp

castellan get projects
castellan create mcptoken my-agent -p PROJECT --rbac clone</pre>
</section>
<section>
<h2>Look around</h2>
<pre tabindex="0">castellan get servers
castellan mcp status
castellan --help</pre>
</section>`,
  );
}
