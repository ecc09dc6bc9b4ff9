import { readFileSync } from 'node:fs';
import type { ExternalProviderSettings } from '../identity/external-provider.ts';
import { nameFault } from '../resources/names.ts';
import { usage } from './exit.ts';

type Environment = Readonly<Record<string, string | undefined>>;

const LOOPBACK = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/;

/** `CASTELLAN_SSO_…`: where people sign in beside passwords; undefined without an issuer. */
export function signInProviderOf(env: Environment): ExternalProviderSettings | undefined {
  const { CASTELLAN_SSO_ISSUER: issuer, CASTELLAN_SSO_CLIENT_ID: clientId } = env;
  if (!issuer) return undefined;
  const url = URL.parse(issuer);
  const plain = url?.protocol === 'http:' && LOOPBACK.test(url.hostname);
  if (!url || (url.protocol !== 'https:' && !plain) || url.search || url.hash || url.username)
    throw usage(`CASTELLAN_SSO_ISSUER "${issuer}" must be the https URL of an OpenID provider`);
  if (!clientId) throw usage('CASTELLAN_SSO_CLIENT_ID is missing: give the id of the client at the provider');
  return {
    issuer,
    clientId,
    clientSecret: secretOf(env),
    name: env.CASTELLAN_SSO_NAME || url.hostname,
    groups: groupsOf(env.CASTELLAN_SSO_GROUPS ?? ''),
    groupsClaim: env.CASTELLAN_SSO_GROUPS_CLAIM || 'groups',
  };
}

/** No message repeats it. */
function secretOf({
  CASTELLAN_SSO_CLIENT_SECRET: text,
  CASTELLAN_SSO_CLIENT_SECRET_FILE: file,
}: Environment) {
  if (text && file)
    throw usage('CASTELLAN_SSO_CLIENT_SECRET and CASTELLAN_SSO_CLIENT_SECRET_FILE are both set: keep one');
  const secret = file ? contentOf(file) : text;
  if (!secret) throw usage('CASTELLAN_SSO_CLIENT_SECRET or CASTELLAN_SSO_CLIENT_SECRET_FILE is missing');
  return secret;
}

function contentOf(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw usage(`CASTELLAN_SSO_CLIENT_SECRET_FILE cannot be read: ${(error as Error).message}`);
  }
}

/** `theirs=ours,…`; their names may hold anything but a comma. */
function groupsOf(text: string): Map<string, string> {
  const pairs = text.split(',').filter((pair) => pair.trim() !== '');
  return new Map(
    pairs.map((pair) => {
      const at = pair.lastIndexOf('=');
      const [theirs, ours] = [pair.slice(0, Math.max(at, 0)).trim(), pair.slice(at + 1).trim()];
      if (theirs === '' || nameFault(ours) !== undefined)
        throw usage(`CASTELLAN_SSO_GROUPS "${pair.trim()}": write THEIR-GROUP=our-group`);
      return [theirs, ours];
    }),
  );
}
