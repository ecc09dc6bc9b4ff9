const PAGES: Readonly<Record<string, string>> = { login: '/sign-in', consent: '/consent' };

/** Where the page is on which a person does what a request waits for: `login` or `consent`. */
export function interactionPath(prompt: string, uid: string): string {
  const page = PAGES[prompt];
  if (page === undefined) throw new Error(`there is no page for ${prompt}`);
  return `${page}/${uid}`;
}
