import type { CryptoKey } from 'oauth4webapi';
import { ok, type Result, refused } from '../base/result.ts';
import { type ClientKeyAlgorithm, clientKeyOf } from '../resources/client-key.ts';
import type { OAuthSpec } from '../resources/spec.ts';

/** A client at an authorization server, and how it proves itself at the token endpoint. */
export type VendorClient =
  | { id: string; secret: string | undefined; method: 'none' | 'client_secret_basic' | 'client_secret_post' }
  | {
      id: string;
      /** The key. */
      secret: string;
      method: 'private_key_jwt';
      audience: string;
      /** Undefined: the authorization server does not say. */
      algorithms: readonly string[] | undefined;
    };

/** What an authorization server takes at its token endpoint; undefined: it does not say. */
export type ProofsTaken = {
  issuer: string;
  /** For whom assertions are. */
  audience: string;
  authMethods: readonly string[] | undefined;
  signingAlgorithms: readonly string[] | undefined;
};

const SUBTLE = {
  ES256: { name: 'ECDSA', namedCurve: 'P-256' },
  ES384: { name: 'ECDSA', namedCurve: 'P-384' },
  RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  PS256: { name: 'RSA-PSS', hash: 'SHA-256' },
  EdDSA: { name: 'Ed25519' },
  Ed25519: { name: 'Ed25519' },
} as const;

export const publicClient = (id: string): VendorClient => ({ id, secret: undefined, method: 'none' });

/** A client with a secret, in the way that its server prefers (RFC 6749 section 2.3.1: Basic, where it takes both). */
export function secretClient(
  id: string,
  secret: string | undefined,
  methods: readonly string[] | undefined,
): VendorClient {
  if (secret === undefined) return publicClient(id);
  const post = methods?.includes('client_secret_post') && !methods.includes('client_secret_basic');
  return { id, secret, method: post ? 'client_secret_post' : 'client_secret_basic' };
}

/** The client that a server's `auth` names. Refused: its key is none that the authorization server takes. */
export function configuredClient(
  id: string,
  { clientSecret, privateKey }: Pick<OAuthSpec, 'clientSecret' | 'privateKey'>,
  { issuer, audience, authMethods, signingAlgorithms }: ProofsTaken,
): Result<VendorClient, string> {
  if (privateKey === undefined) return ok(secretClient(id, clientSecret, authMethods));
  if (authMethods && !authMethods.includes('private_key_jwt'))
    return refused(
      `${issuer} takes no client with a key (private_key_jwt): set clientSecret instead of privateKey`,
    );
  const can = clientKeyOf(privateKey)?.algorithms ?? [];
  if (algorithmOf(can, signingAlgorithms) === undefined)
    return refused(
      `${issuer} takes no signature of ${can.join(' or ')}, which the key in privateKey makes: use another key`,
    );
  const client = { id, secret: privateKey, audience, algorithms: signingAlgorithms };
  return ok({ ...client, method: 'private_key_jwt' });
}

const algorithmOf = (can: readonly ClientKeyAlgorithm[], taken: readonly string[] | undefined) =>
  can.find((one) => taken?.includes(one) ?? true);

/** Adds the proof of the client to a request to a token endpoint (RFC 6749 section 2.3.1, RFC 7523 section 2.2). */
export async function prove(
  client: VendorClient,
  form: URLSearchParams,
  headers: Record<string, string>,
): Promise<void> {
  if (client.method === 'private_key_jwt') return sign(client, form);
  const { id, method, secret = '' } = client;
  if (method === 'client_secret_basic') {
    const pair = `${formEncoded(id)}:${formEncoded(secret)}`;
    headers.authorization = `Basic ${Buffer.from(pair).toString('base64')}`;
    return;
  }
  form.set('client_id', id);
  if (method === 'client_secret_post') form.set('client_secret', secret);
}

async function sign(
  { id, secret, algorithms, audience }: Extract<VendorClient, { method: 'private_key_jwt' }>,
  form: URLSearchParams,
): Promise<void> {
  const key = clientKeyOf(secret);
  const algorithm = key && algorithmOf(key.algorithms, algorithms);
  if (!algorithm) throw new Error('the key of a client cannot be read any more');
  const named = key.id === undefined ? {} : { kid: key.id };
  const signing: CryptoKey = key.key.toCryptoKey(SUBTLE[algorithm], false, ['sign']);
  const { modifyAssertion, PrivateKeyJwt } = await import('oauth4webapi');
  const proof = PrivateKeyJwt(
    { key: signing, ...named },
    // EdDSA and Ed25519 are two names of one signature.
    { [modifyAssertion]: (header: Record<string, unknown>) => Object.assign(header, { alg: algorithm }) },
  );
  await proof({ issuer: audience }, { client_id: id }, form, new Headers());
}

const formEncoded = (text: string) => new URLSearchParams({ '': text }).toString().slice(1);
