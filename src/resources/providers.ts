/** What is known of a vendor's authorization server before it is asked anything. */
export type Provider = {
  authorizationEndpoint: string;
  tokenEndpoint: string;
  deviceAuthorizationEndpoint?: string;
  /** Those to ask for when `scopes` names none. */
  scopes?: readonly string[];
  /** What a request to its authorization endpoint needs besides. */
  parameters?: Readonly<Record<string, string>>;
  /** It answers a request that has `resource` (RFC 8707) with an error. */
  refusesResource?: true;
};

export const PROVIDERS: Readonly<Record<string, Provider>> = {
  github: {
    authorizationEndpoint: 'https://github.com/login/oauth/authorize',
    tokenEndpoint: 'https://github.com/login/oauth/access_token',
    deviceAuthorizationEndpoint: 'https://github.com/login/device/code',
  },
};

export const PROVIDER_NAMES = ['custom', ...Object.keys(PROVIDERS).sort()];
