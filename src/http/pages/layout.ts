import { html } from 'hono/html';

export type Fragment = ReturnType<typeof html>;

/**
 * Headers of every page: no script, nothing from elsewhere, in no frame. `formTargets` are sources that a form may lead
 * to beside this server: browsers hold the redirect that answers a form to the same rule.
 */
export function pageHeaders(formTargets: readonly string[] = []): Readonly<Record<string, string>> {
  const forms = ["'self'", ...formTargets].join(' ');
  return {
    'content-security-policy': `default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action ${forms}; frame-ancestors 'none'`,
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'cross-origin-opener-policy': 'same-origin',
    'cache-control': 'no-store',
  };
}

/** A whole page. `wide` ones hold lists, the others one form. */
export function page(
  { title, wide = false, nav = '' }: { title: string; wide?: boolean; nav?: Fragment | '' },
  body: Fragment,
): Fragment {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title} · Castellan</title>
<link rel="icon" href="/icon.svg">
<link rel="stylesheet" href="/style.css">
</head>
<body class="${wide ? 'wide' : 'narrow'}">
<header><a class="name" href="/">Castellan</a>${nav}</header>
<main>
${body}
</main>
</body>
</html>`;
}

/** What went wrong, read out by screen readers as soon as the page is there. */
export function problem(message: string | undefined): Fragment | '' {
  return message === undefined ? '' : html`<p class="note bad" role="alert" id="problem">${message}</p>`;
}

/** A page that says one thing. */
export function messagePage(title: string, ...sentences: (string | Fragment)[]): Fragment {
  return page(
    { title },
    html`<section><h1>${title}</h1>${sentences.map((sentence) => html`<p>${sentence}</p>`)}</section>`,
  );
}
