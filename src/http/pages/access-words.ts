import { html } from 'hono/html';
import type { InteractionClient, RequestedAccess } from '../../oauth/interactions.ts';
import type { Scope } from '../../oauth/scopes.ts';
import type { Fragment } from './layout.ts';

const MAX_NAME = 80;
/** Characters that show nothing, or turn what follows around. */
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** A name that a stranger chose, as one short line. */
export function shownName(name: string): string {
  const plain = [...name.replace(/\s+/g, ' ').replace(UNSEEN, '').trim()];
  if (plain.length === 0) return 'A client without a name';
  return plain.length > MAX_NAME ? `${plain.slice(0, MAX_NAME).join('')}…` : plain.join('');
}

/** Whether somebody should be proven anew before they allow this. */
export function isSensitive({ scopes }: RequestedAccess): boolean {
  return scopes.some((scope) => scope !== 'mcp');
}

const SURFACES = { consumer: 'to use the system', operator: 'to work on it' } as const;

/** What is asked for, in words; who asks; and what nobody can vouch for. */
export function requestWords(
  client: InteractionClient,
  { project, surfaces, scopes }: RequestedAccess,
): Fragment {
  const { id, source, redirectHost } = client;
  return html`<h2>It may</h2>
<ul class="plain">${scopes.map((scope) => html`<li>${SCOPE_WORDS[scope](project ?? '')}</li>`)}</ul>
<p class="hint">Never more than you may yourself at that moment, and never what only people decide.</p>
<dl>
${
  project === undefined
    ? ''
    : html`<dt>Project</dt><dd>${project}</dd>
<dt>Surfaces</dt><dd>${surfaces.map((one) => `${one} (${SURFACES[one]})`).join(', ')}</dd>`
}
<dt>Client</dt><dd><code>${id.slice(0, 300)}</code></dd>
<dt>Known as</dt><dd>${SOURCE_WORDS[source]}</dd>
${redirectHost === undefined ? '' : html`<dt>Sends you to</dt><dd><strong>${redirectHost}</strong></dd>`}
</dl>
${warnings(client).map((one) => html`<p class="note warn">${one}</p>`)}`;
}

const SCOPE_WORDS: Readonly<Record<Scope, (project: string) => Fragment>> = {
  mcp: (project) =>
    html`use the tools of project <strong>${project}</strong> that you may use <code>mcp</code>`,
  'mcp:operator': (project) =>
    html`use every tool of project <strong>${project}</strong> that you may use, those of its operator surface too
<code>mcp:operator</code>`,
  api: () =>
    html`do <strong>everything that you may do</strong> here over the API: change servers, projects, users and rights,
and make tokens <code>api</code>`,
};

const SOURCE_WORDS: Readonly<Record<InteractionClient['source'], string>> = {
  registered: 'registered here by an administrator',
  'built-in': 'a part of Castellan',
  'metadata-document': 'it names itself, in a document at this address',
  dynamic: 'it registered itself; nobody has checked its name',
};

function warnings({ name, source, redirectHost, localOnly, privateScheme }: InteractionClient): Fragment[] {
  const who = shownName(name);
  const all: Fragment[] = [];
  if (localOnly)
    all.push(html`It runs on this computer, and every program here could say that it is
<strong>${who}</strong>. Go on only if you have just started it yourself.`);
  if (privateScheme)
    all.push(html`It is reached by links that begin with <strong>${redirectHost}</strong>, which every program on this
device could have taken for itself. Go on only if you have just started it yourself.`);
  if (source === 'dynamic' && !localOnly && !privateScheme)
    all.push(
      html`Look at where it sends you, <strong>${redirectHost}</strong>: that is who gets the access.`,
    );
  return all;
}

/** What the redirect that answers the form may lead to, as sources of `form-action`. */
export function formTargets({ redirectHost, localOnly, privateScheme }: InteractionClient): string[] {
  if (redirectHost === undefined) return [];
  if (privateScheme) return /^[a-z][a-z0-9+.-]*:$/.test(redirectHost) ? [redirectHost] : [];
  // A client on the web may send people on from there; a source cannot name an IPv6 address.
  if (!localOnly) return ['https:'];
  return /^[a-z0-9.-]+(?::\d+)?$/.test(redirectHost) ? [`http://${redirectHost}`] : ['http:'];
}
