import { errors, type KoaContextWithOIDC, Provider } from 'oidc-provider';
import { mintCredential } from '../base/ids.ts';
import type { KeyRing } from '../store/key-ring.ts';
import { DEVICE_GRANT } from './built-in-clients.ts';
import { type ProviderDeps, recordOf } from './provider-deps.ts';

const POLL_INTERVAL_MS = 5_000;

/** Tokens in our own format. A refresh token names its successor, so that parallel refreshes all get the same one. */
export function nameTokens(provider: Provider, keys: Pick<KeyRing, 'mac'>): void {
  const accessToken = {
    // The provider settles the format of an access token where it settles its id.
    generateTokenId(this: { format?: string }) {
      this.format = 'opaque';
      return mintCredential('at');
    },
  };
  Object.assign(provider.AccessToken.prototype, accessToken);
  Object.assign(provider.ClientCredentials.prototype, accessToken);
  Object.assign(provider.RefreshToken.prototype, {
    generateTokenId: () => {
      const before = Provider.ctx?.oidc.entities.RotatedRefreshToken?.jti;
      return before === undefined
        ? mintCredential('rt')
        : mintCredential('rt', Buffer.from(keys.mac('oauth/successor', before), 'hex'));
    },
  });
}

/** A device that asks more often than every five seconds is told to slow down (RFC 8628 section 3.5). */
export function slowDevicesDown({ DeviceCode }: Provider, { artifacts }: ProviderDeps): void {
  type Find = (value: string, options?: object) => Promise<InstanceType<typeof DeviceCode> | undefined>;
  const model = DeviceCode as unknown as { find: Find };
  const find = model.find.bind(DeviceCode);
  model.find = async (value, options) => {
    const code = await find(value, options);
    const oidc = Provider.ctx?.oidc;
    const polls = oidc?.route === 'token' && oidc.params?.grant_type === DEVICE_GRANT;
    if (code && polls && !code.accountId && !code.error && code.clientId === oidc.client?.clientId) {
      if (await artifacts.polledTooSoon(value, POLL_INTERVAL_MS)) throw new errors.SlowDown();
    }
    return code;
  };
}

/** `/introspect` is for clients that prove themselves, and tells them of project tokens too. */
export function introspectBothKinds(provider: Provider, deps: ProviderDeps): void {
  provider.use(async (ctx, next) => {
    await next();
    const { oidc } = ctx as KoaContextWithOIDC;
    if (ctx.path !== '/introspect' || ctx.status !== 200 || !oidc?.client) return;
    const record = recordOf(oidc.client);
    if (record.tokenEndpointAuthMethod === 'none') {
      ctx.status = 401;
      ctx.body = { error: 'invalid_client', error_description: 'only a client that proves itself may ask' };
      return;
    }
    const told = ctx.body as { active?: boolean; sub?: string };
    ctx.body = told.active
      ? { ...told, username: deps.userEmail(String(told.sub)) }
      : ((await deps.introspectToken(String(oidc.params?.token), record)) ?? told);
  });
}
