import { createPrivateKey, type JsonWebKey, type KeyObject } from 'node:crypto';

/** What signs the assertions of a client (RFC 7523), and the algorithms that it can (RFC 7518, RFC 8037, RFC 9864). */
export type ClientKey = { key: KeyObject; id: string | undefined; algorithms: readonly ClientKeyAlgorithm[] };

export type ClientKeyAlgorithm = 'ES256' | 'ES384' | 'RS256' | 'PS256' | 'EdDSA' | 'Ed25519';

const CURVES: Readonly<Record<string, readonly ClientKeyAlgorithm[]>> = {
  prime256v1: ['ES256'],
  secp384r1: ['ES384'],
};
const MIN_RSA_BITS = 2048;

/** Reads a private key: PEM, or a JWK, whose `kid` then goes along. Undefined: it is none that can be used. */
export function clientKeyOf(text: string): ClientKey | undefined {
  try {
    const jwk = text.trimStart().startsWith('{') ? (JSON.parse(text) as JsonWebKey) : undefined;
    const key = jwk ? createPrivateKey({ key: jwk, format: 'jwk' }) : createPrivateKey(text);
    const algorithms = algorithmsOf(key);
    if (!algorithms) return undefined;
    return { key, id: typeof jwk?.kid === 'string' ? jwk.kid : undefined, algorithms };
  } catch {
    return undefined;
  }
}

export function clientKeyFault(text: string): string | undefined {
  return clientKeyOf(text)
    ? undefined
    : 'is no private key: give a PEM (PKCS #8) or a JWK of an EC (P-256, P-384), RSA (2048 bits or more) or Ed25519 key';
}

function algorithmsOf({
  asymmetricKeyType,
  asymmetricKeyDetails,
}: KeyObject): readonly ClientKeyAlgorithm[] | undefined {
  if (asymmetricKeyType === 'ed25519') return ['EdDSA', 'Ed25519'];
  if (asymmetricKeyType === 'ec') return CURVES[asymmetricKeyDetails?.namedCurve ?? ''];
  const large = (asymmetricKeyDetails?.modulusLength ?? 0) >= MIN_RSA_BITS;
  return asymmetricKeyType === 'rsa' && large ? ['RS256', 'PS256'] : undefined;
}
