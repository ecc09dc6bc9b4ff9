import { createMiddleware } from 'hono/factory';
import { html } from 'hono/html';
import { type Fragment, messagePage } from './layout.ts';
import { FORM_FIELD, type PageContext, type PageEnv, type Visitors } from './visitors.ts';

const MAX_FORM_BYTES = 16 * 1024;
const FORM_TYPE = 'application/x-www-form-urlencoded';

/** Lets a form through only when it is one that a page of ours showed to this browser. */
export function ownForms(visitors: Visitors) {
  return createMiddleware<PageEnv>(async (c, next) => {
    if (c.req.method === 'GET' || c.req.method === 'HEAD') return next();
    const type = (c.req.header('content-type') ?? '').split(';')[0]?.trim().toLowerCase();
    if (type !== FORM_TYPE) return c.html(messagePage('Not a form', 'This page takes a form alone.'), 415);
    const body = await boundedText(c);
    if (body === undefined)
      return c.html(messagePage('Too large', 'A form of this page is never that large.'), 413);
    const fields = new URLSearchParams(body);
    if (!visitors.isOwnForm(c, fields.get(FORM_FIELD) ?? '')) return c.html(stalePage(), 403);
    c.set('form', fields);
    return next();
  });
}

function stalePage(): Fragment {
  return messagePage(
    'This form is out of date',
    'It belongs to another session, or cookies are off in this browser. Nothing was changed.',
    html`<a class="button" href="/account">Start again</a>`,
  );
}

async function boundedText(c: PageContext): Promise<string | undefined> {
  const declared = Number(c.req.header('content-length') ?? 0);
  if (declared > MAX_FORM_BYTES) return undefined;
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of c.req.raw.body ?? []) {
    size += chunk.length;
    if (size > MAX_FORM_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** A field of the form that came; empty when it is missing. */
export function field(c: PageContext, name: string): string {
  return c.var.form?.get(name) ?? '';
}

/** The hidden field that every form of ours carries. */
export function formField(visitors: Visitors, c: PageContext): Fragment {
  return html`<input type="hidden" name="${FORM_FIELD}" value="${visitors.formToken(c)}">`;
}

/** A path of this server to go on to; anything else is `fallback`. */
export function ownPath(text: string | undefined, fallback: string): string {
  return text !== undefined && /^\/(?![/\\])[\x21-\x5b\x5d-\x7e]{0,8000}$/.test(text) ? text : fallback;
}
